"""The trials of ``search=optimize`` on the terminal, in rank order, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchhydra.escaping import printable
from benchhydra.render.optimum_rows import optimum_lines, optimum_of, trial_columns, trial_rows

if TYPE_CHECKING:
    from rich.console import Console

STATUS_COLOURS = {"ok": "", "cut": "dim", "infeasible": "red"}


def print_trials(terminal: Console, answer: Mapping[str, Any]) -> None:
    """Print the trials of an answer; nothing if its search has none."""
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    optimum = optimum_of(answer)
    if optimum is None:
        return
    columns = trial_columns(optimum)
    rows = trial_rows(optimum)
    title = f"trials: {len(rows)} of {len(optimum['trials'])}, the best first"
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(Text(name), justify="left" if name in ("status", "why") else "right")
    for row in rows:
        style = STATUS_COLOURS.get(row[columns.index("status")], "")
        table.add_row(*(Text(printable(cell), style=style) for cell in row))
    terminal.print(table)
    for line in optimum_lines(answer):
        terminal.print(printable(line), markup=False, highlight=False, soft_wrap=True)
