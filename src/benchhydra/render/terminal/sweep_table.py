"""A sweep on the terminal: one table a script with one row a point, the repeats, and why points are not VALID."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from benchhydra.render import renderer
from benchhydra.render.figures import LEGEND, TIME, latency_name
from benchhydra.render.repeat_rows import TITLE, repeat_table
from benchhydra.render.sweep_rows import PointRow, SweepRows, table_metrics, unit_and_arrow, varying_overrides
from benchhydra.render.terminal._console import VERDICT_COLOURS, console
from benchhydra.result import Verdict

if TYPE_CHECKING:
    from rich.console import Console


@renderer("sweep", "table")
def print_sweep(sweep: SweepRows, stream: TextIO) -> None:
    """The tables, counts and directory of a sweep."""
    print_sweep_on(console(stream), sweep)


def print_sweep_on(terminal: Console, sweep: SweepRows) -> None:
    """Print a sweep on the given console, whose width tests choose."""
    from rich.markup import escape

    for text in sweep.descriptions():
        terminal.print(f"[bold]{escape(text)}[/bold]", highlight=False)
    for script, rows in sweep.by_script().items():
        _print_table(terminal, script, rows)
    _print_repeats(terminal, sweep)
    for row in sweep.rows:
        for reason in row.reasons:
            terminal.print(f"  {escape(sweep.name(row))}: {escape(reason)}", highlight=False)
    terminal.print(f"[dim]{LEGEND}[/dim]", escape(sweep.counts()), sep="\n", highlight=False)
    terminal.print(f"files:  {escape(str(sweep.directory))}", highlight=False, soft_wrap=True)


def _print_table(terminal: Console, script: str, rows: list[PointRow]) -> None:
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    metrics, varying = table_metrics(rows), varying_overrides(rows)
    table = Table(title=script, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for key in varying:
        table.add_column(Text(key), overflow="fold", vertical="bottom")
    for name in metrics:
        table.add_column(Text(_head(rows, name)), justify="right")
    table.add_column("verdict")
    for row in rows:
        verdict = Text(row.verdict_words, style=_colour(row))
        cells = (Text(row.overrides.get(key, "")) for key in varying)
        table.add_row(*cells, *row.values(metrics), verdict)
    terminal.print(table)


def _print_repeats(terminal: Console, sweep: SweepRows) -> None:
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    repeats = repeat_table(sweep)
    if repeats is None:
        return
    table = Table(title=TITLE, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for key in (*repeats.keys, "n"):
        table.add_column(Text(key), overflow="fold", vertical="bottom")
    for name in repeats.metrics:
        table.add_column(Text(_head(sweep.rows, name)), justify="right")
    for cells in repeats.rows:
        table.add_row(*(Text(cell.replace(" ± ", "\n± ")) for cell in cells))
    terminal.print(table)


def _head(rows: Sequence[PointRow], metric: str) -> str:
    """A heading of three short lines, which keep the column narrow: quantity, statistic, unit with an arrow."""
    match = TIME.fullmatch(metric)
    quantity, statistic = (latency_name(match[2]), match[1]) if match else (metric.removesuffix("_throughput"), "")
    return "\n".join([quantity, statistic, unit_and_arrow(rows, metric)])


def _colour(row: PointRow) -> str:
    return VERDICT_COLOURS[Verdict(row.verdict)] if row.verdict in list(Verdict) else "red"
