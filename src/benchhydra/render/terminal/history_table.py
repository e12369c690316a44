"""The history of points on the terminal: one row a metric, and one row for each change of its level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, TextIO

from benchhydra.analysis.history import LevelChange, MetricHistory
from benchhydra.analysis.runs import Run
from benchhydra.escaping import printable
from benchhydra.render import renderer
from benchhydra.render.figures import percent, quantity
from benchhydra.render.terminal._console import UNLIMITED, console

if TYPE_CHECKING:
    from rich.table import Table

BARS = "▁▂▃▄▅▆▇█"
#: The number of newest values that a line of bars shows.
NEWEST = 40
COLUMNS = ("metric", "runs", "first", "last", "noise", f"values (the newest {NEWEST})")
#: Indices of the columns that hold figures.
FIGURES = range(1, 5)
COMMIT_DIGITS = 10


@renderer("history", "table")
def print_history(histories: Iterable[MetricHistory], stream: TextIO) -> None:
    """One table for each point and class of machines."""
    terminal = console(stream, UNLIMITED)
    for (machine, _), metrics in groupby(histories, key=lambda h: (h.runs[0].machine, h.runs[0].point_key)):
        terminal.print(_table(machine, list(metrics)))


def _table(machine: str, metrics: Sequence[MetricHistory]) -> Table:
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    system = "".join(f" {key.rpartition('.')[2]}={value}" for key, value in metrics[0].system.items())
    title = Text(printable(f"{metrics[0].runs[-1].label}{system} on {machine}"))
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column, name in enumerate(COLUMNS):
        table.add_column(name, justify="right" if column in FIGURES else "left")
    for metric in metrics:
        table.add_row(*(Text(printable(cell)) for cell in _cells(metric)))
        for change in metric.changes:
            text = Text(printable(level_change_words(change)), style=_colour(change))
            table.add_row(*[""] * (len(COLUMNS) - 1), text)
    return table


def _cells(metric: MetricHistory) -> tuple[str, ...]:
    first, last = (quantity(metric.values[at], metric.kind.unit) for at in (0, -1))
    noise = "" if metric.noise is None else f"{metric.noise * 100:.1f} %"
    return (metric.metric, str(len(metric.values)), first, last, noise, bars(metric.values[-NEWEST:]))


def bars(values: Sequence[float]) -> str:
    """Values as a line of bars, scaled from the smallest value to the largest."""
    low, high = min(values), max(values)
    if high == low:
        return BARS[0] * len(values)
    return "".join(BARS[round((value - low) / (high - low) * (len(BARS) - 1))] for value in values)


def level_change_words(change: LevelChange) -> str:
    """``+9.8 % (worse) 2026-01-02, 0.5 abc -> 0.6 def``: size and date of the step, the builds before and after it."""
    direction = {True: " (better)", False: " (worse)", None: ""}[change.better]
    day = datetime.fromtimestamp(change.after.epoch_time, UTC).date().isoformat()
    return f"{percent(change.step.ratio - 1)}{direction} {day}, {_build(change.before)} -> {_build(change.after)}"


def _build(run: Run) -> str:
    return " ".join(part for part in (run.engine_version, run.commit[:COMMIT_DIGITS]) if part) or "unknown build"


def _colour(change: LevelChange) -> str:
    return {True: "green", False: "bold red", None: "yellow"}[change.better]
