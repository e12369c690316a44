"""Shared by the tables of this package: a console on a stream, and the colours of verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from benchhydra.result import Verdict

if TYPE_CHECKING:
    from rich.console import Console

VERDICT_COLOURS = {Verdict.VALID: "green", Verdict.SUSPECT: "yellow", Verdict.INVALID: "red"}


def console(stream: TextIO, width: int | None = None) -> Console:
    """A console that writes to a stream. If that is a file or a pipe, it has ``width`` columns and wraps no lines."""
    from rich.console import Console  # importing it takes 60 ms, which commands without a table save

    if stream.isatty() or width is None:
        return Console(file=stream)
    return Console(file=stream, width=width, highlight=False, soft_wrap=True)
