"""Series on the terminal: a row a metric, and a row for each change of its level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TextIO

from benchhydra.analysis.history import LevelChange, MetricHistory
from benchhydra.analysis.runs import Run
from benchhydra.render.documents.compare_markdown import figure, percent, printable

BARS = "▁▂▃▄▅▆▇█"
WIDEST = 40
COLUMNS = ("metric", "runs", "first", "last", "noise", f"series (at most {WIDEST} newest)")
COMMIT = 10


def history_table(found: Iterable[MetricHistory], out: TextIO) -> None:
    """Write one table a point and kind of machine."""
    from rich.console import Console

    console = Console(file=out, width=None if out.isatty() else 160, highlight=False, soft_wrap=not out.isatty())
    for (machine, _), group in groupby(found, key=lambda s: (s.runs[0].machine, s.runs[0].point_key)):
        console.print(_table(machine, list(group)))


def _table(machine: str, group: Sequence[MetricHistory]) -> object:
    from rich.table import Table
    from rich.text import Text

    title = Text(printable(f"{group[0].runs[-1].label} on {machine}"))
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in COLUMNS[1:5] else "left")
    for one in group:
        table.add_row(*(Text(printable(cell)) for cell in _cells(one)))
        for change in one.changes:
            table.add_row("", "", "", "", "", Text(printable(said(change)), style=_colour(change)))
    return table


def _cells(one: MetricHistory) -> tuple[str, ...]:
    first, last = figure(one.values[0], one.kind.unit), figure(one.values[-1], one.kind.unit)
    noise = "" if one.noise is None else f"{one.noise * 100:.1f} %"
    return (one.metric, str(len(one.values)), first, last, noise, bars(one.values[-WIDEST:]))


def bars(values: Sequence[float]) -> str:
    """A series as a line of bars, from its smallest to its largest value."""
    low, high = min(values), max(values)
    if high == low:
        return BARS[0] * len(values)
    return "".join(BARS[round((value - low) / (high - low) * (len(BARS) - 1))] for value in values)


def said(change: LevelChange) -> str:
    """``+9.8 % (worse) 2026-01-02, 0.5 abc -> 0.6 def``: a step, its size, and between which runs it lies."""
    how = {True: " (better)", False: " (worse)", None: ""}[change.better]
    day = datetime.fromtimestamp(change.after.epoch_time, UTC).date().isoformat()
    return f"{percent(change.step.ratio - 1)}{how} {day}, {_build(change.before)} -> {_build(change.after)}"


def _build(run: Run) -> str:
    return " ".join(part for part in (run.engine_version, run.commit[:COMMIT]) if part) or "unknown build"


def _colour(change: LevelChange) -> str:
    return {True: "green", False: "bold red", None: "yellow"}[change.better]
