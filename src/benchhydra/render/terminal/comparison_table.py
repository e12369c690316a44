"""A comparison on the terminal."""

from __future__ import annotations

from typing import TextIO

from benchhydra.analysis.compare import ChangeVerdict, Comparison, MetricChange, PointChange
from benchhydra.render.documents.compare_markdown import (
    figure,
    heading,
    interval_text,
    percent,
    printable,
    verdict_text,
)

COLOURS = {
    ChangeVerdict.BETTER: "green",
    ChangeVerdict.WORSE: "bold red",
    ChangeVerdict.SAME: "dim",
    ChangeVerdict.UNCLEAR: "yellow",
}
COLUMNS = ("metric", "base", "candidate", "change", "95 % interval", "verdict")


def compare_table(found: Comparison, out: TextIO) -> None:
    """Write one table a point."""
    from rich.console import Console

    console = Console(file=out, width=None if out.isatty() else 120, highlight=False, soft_wrap=not out.isatty())
    for point in found.points:
        console.print(_table(point))
        for text in (*point.differences, *point.notes, *_faults(point)):
            console.print(f"  {printable(text)}", markup=False)
    for side, labels in (("base", found.only_base), ("candidate", found.only_candidate)):
        for label in labels:
            console.print(f"only in the {side}: {printable(label)}", markup=False)


def _faults(point: PointChange) -> list[str]:
    faults = [f"not measured by the candidate: {', '.join(point.missing)}"] if point.missing else []
    return [*faults, f"INVALID: the {point.invalid} has no usable run"] if point.invalid else faults


def _table(point: PointChange) -> object:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(heading(point))), title_justify="left", box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("metric", "verdict") else "right")
    for metric in point.metrics:
        table.add_row(*(Text(printable(cell), style=COLOURS[metric.change]) for cell in _cells(metric)))
    return table


def _cells(metric: MetricChange) -> tuple[str, ...]:
    return (
        metric.metric,
        figure(metric.base, metric.unit),
        figure(metric.candidate, metric.unit),
        percent(metric.ratio),
        interval_text(metric),
        verdict_text(metric),
    )
