"""What the tables of this package share: a console on a stream, and the colours of verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from benchhydra.result import Verdict

if TYPE_CHECKING:
    from rich.console import Console

VERDICT_COLOURS = {Verdict.VALID: "green", Verdict.SUSPECT: "yellow", Verdict.INVALID: "red"}


def console(stream: TextIO, width: int | None = None) -> Console:
    """A console that writes to a stream. In a file or pipe tables are ``width`` columns wide, and lines do not wrap."""
    from rich.console import Console  # 60 ms, which a command without a table does not need

    if stream.isatty() or width is None:
        return Console(file=stream)
    return Console(file=stream, width=width, highlight=False, soft_wrap=True)
