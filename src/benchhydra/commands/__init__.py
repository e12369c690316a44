"""Subcommands: one file each. ``benchhydra gate ...`` runs ``gate.py``; ``import_config.py`` is ``import-config``.

A command module has a docstring whose first line is its help, ``add_arguments(parser)`` and ``run(args) -> exit code``.
It imports at its top only what is light; heavy libraries go inside functions.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from typing import Protocol


class Command(Protocol):
    """What a command module offers."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, args: argparse.Namespace) -> int: ...


def command_names() -> list[str]:
    """The subcommands, as they are typed."""
    return [info.name.replace("_", "-") for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]


def load_command(name: str) -> Command:
    """The module of a subcommand."""
    module: Command = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return module
