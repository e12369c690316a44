"""A listing of archived results on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from benchhydra.escaping import printable
from benchhydra.render import renderer
from benchhydra.render.archive_rows import ArchiveRow
from benchhydra.render.figures import count

COLUMNS = ("date", "event", "label", "branch", "commit", "script", "model", "dataset", "verdict", "run_id")
#: Columns that are truncated to this number of characters.
CUT = {"commit": 9, "run_id": 12}


@renderer("archive", "text")
def print_archive(rows: Sequence[ArchiveRow], stream: TextIO) -> None:
    """A table with one row a result, then the number of results."""
    from rich.console import Console  # start-up time, as in _console
    from rich.table import Table
    from rich.text import Text

    table = Table(*COLUMNS, box=None)
    for row in rows:
        values = row.values()
        table.add_row(*(Text(printable(values[name][: CUT.get(name)])) for name in COLUMNS))
    Console(file=stream, soft_wrap=True).print(table)
    stream.write(f"{count(len(rows), 'result')}\n")
