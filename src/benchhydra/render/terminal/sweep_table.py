"""A sweep on the terminal: its answers, a table a script with a row a point, the repeats, why points are not VALID."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from benchhydra.escaping import printable
from benchhydra.render import renderer
from benchhydra.render.answer_rows import answer_lines, answers_of
from benchhydra.render.figures import LEGEND, TIME, latency_name, leaf_names
from benchhydra.render.repeat_rows import TITLE, repeat_table
from benchhydra.render.sweep_rows import (
    PointRow,
    SweepRows,
    table_metrics,
    unit_and_arrow,
    varying_overrides,
)
from benchhydra.render.terminal._console import UNLIMITED, VERDICT_COLOURS, console
from benchhydra.render.terminal.trials_table import print_trials
from benchhydra.result import Verdict

if TYPE_CHECKING:
    from rich.console import Console


@renderer("sweep", "table")
def print_sweep(sweep: SweepRows, stream: TextIO) -> None:
    """The tables, counts and directory of a sweep."""
    print_sweep_on(console(stream, UNLIMITED), sweep)


def print_sweep_on(terminal: Console, sweep: SweepRows) -> None:
    """Print a sweep on the given console, whose width tests choose."""
    from rich.markup import escape

    for text in sweep.descriptions():
        terminal.print(f"[bold]{escape(text)}[/bold]", highlight=False)
    for line in answer_lines(sweep):
        terminal.print(f"[bold]{escape(printable(line))}[/bold]", highlight=False, soft_wrap=True)
    for answer in answers_of(sweep):
        print_trials(terminal, answer)
    for script, rows in sweep.by_script().items():
        _print_table(terminal, script, rows)
    _print_repeats(terminal, sweep)
    for line in sweep.reasons():
        terminal.print(f"  {escape(line)}", highlight=False)
    terminal.print(f"[dim]{LEGEND}[/dim]", escape(sweep.counts()), sep="\n", highlight=False)
    terminal.print(f"files:  {escape(str(sweep.directory))}", highlight=False, soft_wrap=True)


def _print_table(terminal: Console, script: str, rows: list[PointRow]) -> None:
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    metrics, varying = table_metrics(rows), varying_overrides(rows)
    are_probes = any(row.decision for row in rows)
    time_unit = _time_unit(rows, metrics)
    title = Text(f"{script}: times in {time_unit}" if time_unit else script)
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for key in leaf_names(varying):
        table.add_column(Text(key), overflow="fold", vertical="bottom")
    for name in metrics:
        table.add_column(Text(_head(rows, name, time_unit)), justify="right", overflow="fold")
    table.add_column("verdict", vertical="bottom")
    if are_probes:
        table.add_column("SLO", vertical="bottom")
    for row in rows:
        verdict = Text(row.verdict_words, style=_colour(row))
        cells = (Text(row.overrides.get(key, "")) for key in varying)
        table.add_row(*cells, *row.values(metrics), verdict, *([Text(row.decision)] if are_probes else []))
    terminal.print(table)


def _print_repeats(terminal: Console, sweep: SweepRows) -> None:
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    repeats = repeat_table(sweep)
    if repeats is None:
        return
    time_unit = _time_unit(sweep.rows, repeats.metrics)
    title = f"{TITLE}; times in {time_unit}" if time_unit else TITLE
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for key in (*leaf_names(repeats.keys), "n"):
        table.add_column(Text(key), overflow="fold", vertical="bottom")
    for name in repeats.metrics:
        table.add_column(Text(_head(sweep.rows, name, time_unit)), justify="right", overflow="fold")
    for cells in repeats.rows:
        table.add_row(*(Text(cell.replace(" ± ", "\n± ")) for cell in cells))
    terminal.print(table)


def _time_unit(rows: Sequence[PointRow], metrics: Sequence[str]) -> str:
    """The unit of most of the times among these metrics, with an arrow, which the title says once: ``ms ↓``."""
    units = [unit_and_arrow(rows, name) for name in metrics if TIME.fullmatch(name)]
    return max(units, key=units.count, default="")


def _head(rows: Sequence[PointRow], metric: str, time_unit: str) -> str:
    """A heading of two short lines, which keep the column narrow: the quantity, then its statistic or its unit."""
    match, unit = TIME.fullmatch(metric), unit_and_arrow(rows, metric)
    if match is None:
        return f"{metric.removesuffix('_throughput')}\n{unit}"
    return f"{latency_name(match[2])}\n{match[1]}" + ("" if unit == time_unit else f" {unit}")


def _colour(row: PointRow) -> str:
    return VERDICT_COLOURS[Verdict(row.verdict)] if row.verdict in list(Verdict) else "red"
