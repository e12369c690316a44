"""A comparison on the terminal in a few lines: the headline, and a matrix of points by main metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from benchhydra.analysis.comparison import Comparison
from benchhydra.escaping import printable
from benchhydra.render import comparison_rows, comparison_summary, renderer
from benchhydra.render.headlines import comparison_headline
from benchhydra.render.terminal._console import console
from benchhydra.render.terminal.comparison_table import COLOURS, WIDTH

if TYPE_CHECKING:
    from rich.table import Table


@renderer("comparison", "matrix")
def print_matrix(comparison: Comparison, stream: TextIO) -> None:
    """The headline, what differs between the sides, the matrix, the remarks, and the points that one side lacks."""
    terminal = console(stream, WIDTH)

    def say(text: str, style: str = "") -> None:
        terminal.print(printable(text), style=style, markup=False, highlight=False)

    say(comparison_headline(comparison) or comparison_rows.NOTHING, "bold red" if comparison.problems else "bold")
    if comparison.shared_differences:
        say(comparison_rows.shared(comparison))
    if comparison.metrics:
        terminal.print(_matrix(comparison))
        say(comparison_summary.LEGEND, "dim")
    for text in (*comparison_summary.point_remarks(comparison), *comparison_rows.unpaired(comparison)):
        say(text)


def _matrix(comparison: Comparison) -> Table:
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    shared, names = comparison_summary.point_names(comparison.points)
    metrics = comparison_summary.main_names(comparison)
    table = Table(box=None, pad_edge=False)
    table.add_column(Text(printable(shared or "point")), justify="left")
    for metric in metrics:
        table.add_column(Text(printable(metric.replace("_", " "))), justify="right")
    for point, name in zip(comparison.points, names, strict=True):
        cells = [comparison_summary.matrix_cell(point, metric) for metric in metrics]
        styled = [
            Text(printable(text), style=COLOURS[change] if change else "dim", no_wrap=True) for text, change in cells
        ]
        table.add_row(Text(printable(name)), *styled)
    return table
