"""Shared by the tables of this package: a console that shows no control sequences, and the colours of verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO

from benchhydra.escaping import printable_lines
from benchhydra.result import Verdict

if TYPE_CHECKING:
    from rich.console import Console

#: Columns of a file or a pipe, whose lines are not folded: more than any table has.
UNLIMITED = 10_000
VERDICT_COLOURS = {Verdict.VALID: "green", Verdict.SUSPECT: "yellow", Verdict.INVALID: "red"}


def console(stream: TextIO, width: int | None = None) -> Console:
    """A console that writes to a stream. If that is a file or a pipe, it has ``width`` columns and wraps no lines.

    Characters of texts that a terminal would interpret are shown as "?", whatever is printed on it.
    """
    if stream.isatty() or width is None:
        return _console_class()(file=stream)
    return _console_class()(file=stream, width=width, highlight=False, soft_wrap=True)


@cache
def _console_class() -> type[Console]:
    from rich.console import Console  # importing it takes 60 ms, which commands without a table save
    from rich.segment import Segment

    class SafeConsole(Console):
        def render(self, *arguments: Any, **options: Any) -> Iterable[Segment]:
            for segment in super().render(*arguments, **options):
                yield segment if segment.control else Segment(printable_lines(segment.text), segment.style)

    return SafeConsole
