"""The answer of a bisection on the terminal: the first bad build, what it rests on, and a row for each tested build."""

from __future__ import annotations

from typing import TextIO

from benchhydra.escaping import printable
from benchhydra.render import renderer
from benchhydra.render.bisect_report import TABLE_COLUMNS, BisectReport
from benchhydra.render.terminal._console import UNLIMITED, console

VERDICT_COLOURS = {"good": "green", "bad": "red", "skipped": "yellow", "open": ""}


@renderer("bisect", "summary")
def print_summary(report: BisectReport, stream: TextIO) -> None:
    """The answer, the tested builds, then what the answer rests on."""
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    terminal = console(stream, UNLIMITED)
    terminal.print(printable(report.headline()), style="bold", markup=False, highlight=False)
    if report.rows():
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column, name in enumerate(TABLE_COLUMNS):
            table.add_column(name, justify="right" if 1 < column < len(TABLE_COLUMNS) - 1 else "left", no_wrap=True)
        for row in report.rows():
            table.add_row(*(Text(printable(cell), style=VERDICT_COLOURS[row[1]]) for cell in row))
        terminal.print(table)
    for line in report.lines():
        terminal.print(printable(line), markup=False, highlight=False)
