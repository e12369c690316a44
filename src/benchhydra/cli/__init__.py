"""The command line: runs a subcommand or passes overrides to Hydra, and prints an error as one line and a hint."""

from benchhydra.cli.program import main, run

__all__ = ["main", "run"]
