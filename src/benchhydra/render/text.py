"""Tables as Markdown. The escaping of their cells is in ``benchhydra.escaping``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """The lines of a table. Cells must be escaped already. ``right``: indices of right-aligned columns."""
    ruler = "".join("--:|" if column in right else "---|" for column in range(len(heads)))
    return [_row(heads), f"|{ruler}", *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
