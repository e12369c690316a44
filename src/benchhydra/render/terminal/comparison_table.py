"""A comparison, and an A/B test, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from benchhydra.analysis.comparison import ChangeVerdict, Comparison, PointChange
from benchhydra.escaping import printable
from benchhydra.render import comparison_rows, renderer
from benchhydra.render.ab_report import AbReport
from benchhydra.render.comparison_summary import definition_lines
from benchhydra.render.headlines import comparison_headline
from benchhydra.render.terminal._console import UNLIMITED, console

if TYPE_CHECKING:
    from rich.table import Table

COLOURS = {
    ChangeVerdict.BETTER: "green",
    ChangeVerdict.PROBABLY_BETTER: "dim green",
    ChangeVerdict.WORSE: "bold red",
    ChangeVerdict.PROBABLY_WORSE: "red",
    ChangeVerdict.SAME: "dim",
    ChangeVerdict.INCONCLUSIVE: "yellow",
}


@renderer("comparison", "table")
def print_comparison(comparison: Comparison, stream: TextIO) -> None:
    """The headline, a table and remarks for each point, then the points that only one side has."""
    terminal = console(stream, UNLIMITED)
    headline = comparison_headline(comparison)
    if headline:
        style = "bold red" if comparison.problems else "bold"
        terminal.print(printable(headline), style=style, markup=False, highlight=False)
    for text in definition_lines(comparison):
        terminal.print(printable(text), style="bold", markup=False, highlight=False)
    if comparison.shared_differences:
        terminal.print(printable(comparison_rows.shared(comparison)), markup=False, highlight=False)
    for point in comparison.points:
        terminal.print(_table(point))
        remarks = comparison_rows.remarks(point, comparison.shared_differences)
        for text in (*remarks, *comparison_rows.equal_sentences(point)):
            terminal.print(f"  {printable(text)}", markup=False, highlight=False)
    for text in comparison_rows.unpaired(comparison):
        terminal.print(printable(text), markup=False, highlight=False)


@renderer("ab", "table")
def print_ab(report: AbReport, stream: TextIO) -> None:
    """The outcome, the cost of the test, then the figures."""
    stream.write("".join(f"{printable(line)}\n" for line in report.lines()) + "\n")
    print_comparison(report.test.comparison(), stream)


def _table(point: PointChange) -> Table:
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    title = Text(printable(comparison_rows.heading(point)))
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column, name in enumerate(comparison_rows.COLUMNS):
        table.add_column(name, justify="right" if column in comparison_rows.FIGURES else "left")
    for metric in comparison_rows.shown_metrics(point):
        style = COLOURS[metric.change]
        table.add_row(*(Text(printable(cell), style=style) for cell in comparison_rows.cells(metric)))
    return table
