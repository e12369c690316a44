"""Runs on the terminal: one row a run, and why runs are not VALID."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from benchhydra.escaping import printable
from benchhydra.render import renderer
from benchhydra.render.figures import LEGEND, leaf_names
from benchhydra.render.run_rows import RunRows
from benchhydra.render.terminal._console import UNLIMITED, VERDICT_COLOURS, console

if TYPE_CHECKING:
    from rich.table import Table


@renderer("runs", "table")
def print_runs(rows: RunRows, stream: TextIO) -> None:
    """The answers, the table, the reasons and the counts; if ``quiet``, only the exact figures, separated by tabs."""
    if rows.quiet:
        for run, _ in rows.rows:
            values = [repr(run.metrics[name]) if name in run.metrics else "" for name in rows.columns]
            stream.write("\t".join(values) + "\n")
        return
    terminal = console(stream, UNLIMITED)
    for text in rows.answers:
        terminal.print(printable(text), style="bold", markup=False, highlight=False, soft_wrap=True)
    terminal.print(_table(rows))
    for text in rows.reasons():
        terminal.print(f"  {printable(text)}", markup=False, highlight=False)
    terminal.print(LEGEND, style="dim", markup=False, highlight=False)
    terminal.print(rows.counts(), markup=False, highlight=False)


def _table(rows: RunRows) -> Table:
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in leaf_names(rows.keys):
        table.add_column(Text(printable(name)), vertical="bottom")
    for head in rows.heads():
        table.add_column(Text("\n".join(map(printable, head))), justify="right", no_wrap=True)
    table.add_column("verdict", vertical="bottom")
    for run, settings in rows.rows:
        names = (Text(printable(cell)) for cell in rows.names(run, settings))
        figures = (Text(cell) for cell in rows.figures(run))
        words = run.verdict if run.status == "ok" else f"{run.verdict} ({printable(run.status)})"
        table.add_row(*names, *figures, Text(words, style=VERDICT_COLOURS[run.verdict]))
    return table
