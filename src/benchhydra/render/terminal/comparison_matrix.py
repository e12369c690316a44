"""A comparison on one screen: the headline, and a matrix of points by main metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from benchhydra.analysis.comparison import Comparison
from benchhydra.escaping import printable
from benchhydra.render import comparison_rows, comparison_summary, renderer
from benchhydra.render.attribution_lines import why_lines
from benchhydra.render.headlines import comparison_headline
from benchhydra.render.terminal._console import UNLIMITED, console
from benchhydra.render.terminal.comparison_table import COLOURS

if TYPE_CHECKING:
    from rich.table import Table

#: Spaces between two columns.
GAP = 2


@renderer("comparison", "matrix")
def print_matrix(comparison: Comparison, stream: TextIO) -> None:
    """The headline, which definitions and what else differs, the matrix, why latencies changed, and the remarks."""
    terminal = console(stream, UNLIMITED)

    def say(text: str, style: str = "") -> None:
        if text:
            terminal.print(printable(text), style=style, markup=False, highlight=False)

    say(comparison_headline(comparison) or comparison_rows.NOTHING, "bold red" if comparison.problems else "bold")
    for text in comparison_summary.definition_lines(comparison):
        say(text, "bold")
    if comparison.points:
        say(comparison_summary.sides_line(comparison))
    if comparison.metrics:
        for metrics in _parts(comparison, terminal.width):
            terminal.print(_matrix(comparison, metrics))
        say(comparison_summary.LEGEND, "dim")
        say(comparison_summary.equal_line(comparison), "dim")
    for text in why_lines(comparison):
        say(text)
    for text in comparison_summary.remark_lines(comparison):
        say(text)


def _parts(comparison: Comparison, width: int) -> list[list[str]]:
    """The main metrics, in parts whose columns fit beside the names of the points into ``width``."""
    _, names = comparison_summary.point_names(comparison.points)
    first = max(map(len, (comparison_summary.CORNER, *names)))
    parts: list[list[str]] = [[]]
    used = first
    for metric in comparison_summary.main_names(comparison):
        column = GAP + _column_width(comparison, metric)
        if parts[-1] and used + column > width:
            parts.append([])
            used = first
        parts[-1].append(metric)
        used += column
    return parts


def _column_width(comparison: Comparison, metric: str) -> int:
    cells = (comparison_summary.matrix_cell(point, metric)[0] for point in comparison.points)
    return max(map(len, (*comparison_summary.matrix_head(metric), *cells)))


def _matrix(comparison: Comparison, metrics: Sequence[str]) -> Table:
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    _, names = comparison_summary.point_names(comparison.points)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(Text(comparison_summary.CORNER), justify="left", no_wrap=True, vertical="bottom")
    for metric in metrics:
        head = "\n".join(map(printable, comparison_summary.matrix_head(metric)))
        table.add_column(Text(head), justify="right", no_wrap=True)
    for point, name in zip(comparison.points, names, strict=True):
        cells = [comparison_summary.matrix_cell(point, metric) for metric in metrics]
        styled = [Text(printable(text), style=COLOURS[change] if change else "dim") for text, change in cells]
        table.add_row(Text(printable(name)), *styled)
    return table
