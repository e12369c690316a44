"""``python -m benchhydra``."""

from benchhydra.cli import main

if __name__ == "__main__":
    main()
