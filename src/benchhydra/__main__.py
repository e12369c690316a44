"""``python -m benchhydra``."""

from benchhydra.cli.program import main

if __name__ == "__main__":
    main()
