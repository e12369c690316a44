"""Subcommands, one file each: ``benchhydra gate ...`` runs ``gate.py``, ``import-config`` is ``import_config.py``.

A command module has a docstring whose first line is its help, ``add_arguments(parser)`` and ``run(args) -> exit code``.
It imports slow libraries inside functions, because ``--help`` imports all commands.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from typing import Protocol


class Command(Protocol):
    """The interface of a command module."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, args: argparse.Namespace) -> int: ...


def command_names() -> list[str]:
    """The names of the subcommands, as typed."""
    return [info.name.replace("_", "-") for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]


def load_command(name: str) -> Command:
    """The module of a subcommand."""
    module: Command = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return module
