"""The command line: words become overrides or a subcommand, errors become one line and a hint."""

from benchhydra.cli.program import main, run

__all__ = ["main", "run"]
