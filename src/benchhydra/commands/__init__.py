"""Subcommands, one file each: ``benchhydra gate ...`` runs ``gate.py``, ``import-config`` is ``import_config.py``.

A command module has a docstring whose first line is its help, ``add_arguments(parser)`` and ``run(args) -> exit code``.
It imports slow libraries inside functions, so that its own ``--help`` needs none of them.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import pkgutil
import re
from pathlib import Path
from typing import NoReturn, Protocol

#: argparse's message for an option that a command does not have.
UNKNOWN_OPTION = re.compile(r"unrecognized arguments: (-[\w-]+)")


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


def summary(name: str) -> str:
    """The first line of a subcommand's help, read from its file without importing it."""
    text = Path(__file__).with_name(f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
    return text.removeprefix('"""').partition("\n")[0].removesuffix('"""')


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are one line and a hint, as all errors of the program."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        hint = f"{self.prog} --help"
        unknown = UNKNOWN_OPTION.match(message)
        if unknown:
            near = difflib.get_close_matches(unknown[1], self._option_string_actions, n=1)
            message, hint = f"no such option: {unknown[1]}", f"did you mean {near[0]}? {hint}" if near else hint
        self.exit(2, f"error: {message}\n  hint: {hint}\n")


def command_parser(name: str) -> CommandParser:
    """The parser of a subcommand's arguments."""
    command = load_command(name)
    description = (command.__doc__ or "").strip()
    parser = CommandParser(
        prog=f"benchhydra {name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_arguments(parser)
    return parser
