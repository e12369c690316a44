"""The answer of an A/B test in ten lines: the outcome, both sides as typed, the cost, and the main metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from benchhydra.escaping import printable
from benchhydra.render import comparison_rows, renderer
from benchhydra.render.ab_report import AbReport
from benchhydra.render.attribution_lines import why_lines
from benchhydra.render.comparison_summary import definition_lines
from benchhydra.render.figures import interval, percent, quantity
from benchhydra.render.terminal._console import UNLIMITED, console
from benchhydra.render.terminal.comparison_table import COLOURS

if TYPE_CHECKING:
    from rich.table import Table

#: The answer has ten lines with four main metrics.
MOST_WHY_LINES = 2
COLUMNS = ("metric", "A", "B", "change", "interval", "verdict")


@renderer("ab", "summary")
def print_summary(report: AbReport, stream: TextIO) -> None:
    """The outcome, the sides, why the test stopped, its cost, a row for each main metric, and why latencies changed."""
    terminal = console(stream, UNLIMITED)
    headline, *lines = report.headline(), report.sides(), *_differences(report), _end(report)
    terminal.print(printable(headline), style="bold", markup=False, highlight=False)
    for line in filter(None, lines):
        terminal.print(printable(line), markup=False, highlight=False)
    if report.test.main():
        terminal.print(_table(report))
    for line in why_lines(report.test.comparison())[:MOST_WHY_LINES]:
        terminal.print(printable(line), markup=False, highlight=False)


def _differences(report: AbReport) -> list[str]:
    """What differs beside what was typed: definitions of two engines, another engine's version, another package."""
    comparison = report.test.comparison()
    points = comparison.points
    typed = " ".join(report.typed.values())
    lines = [line for point in points for line in point.differences if line.partition(":")[0] not in typed]
    also = [f"also different: {comparison_rows.listed_differences(lines)}"] if lines else []
    return [*definition_lines(comparison), *also]


def _end(report: AbReport) -> str:
    return f"{report.cost()}; stopped: {report.test.stopped}; the intervals hold together: {report.level()}"


def _table(report: AbReport) -> Table:
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, name in enumerate(COLUMNS):
        table.add_column(name, justify="right" if 0 < column < len(COLUMNS) - 1 else "left", no_wrap=True)
    for metric in report.test.main():
        cells = (
            metric.metric,
            quantity(metric.base, metric.unit),
            quantity(metric.candidate, metric.unit),
            percent(metric.ratio),
            interval(metric.low, metric.high),
            metric.change.words,
        )
        table.add_row(*(Text(printable(cell), style=COLOURS[metric.change]) for cell in cells))
    return table
