"""Runs as a Markdown table."""

from __future__ import annotations

from typing import TextIO

from benchhydra.escaping import escape_markdown
from benchhydra.render import renderer
from benchhydra.render.figures import leaf_names
from benchhydra.render.run_rows import RunRows
from benchhydra.render.text import markdown_table


@renderer("runs", "markdown")
def write_markdown(rows: RunRows, stream: TextIO) -> None:
    """A row a run, then why runs are not VALID (not if ``quiet``)."""
    heads = [*leaf_names(rows.keys), *(f"{name}, {rows.unit(name)}" for name in rows.columns), "verdict"]
    cells = [
        [*map(escape_markdown, [*rows.names(run, settings), *rows.figures(run), run.verdict])]
        for run, settings in rows.rows
    ]
    first = len(rows.keys)
    lines = markdown_table(list(map(escape_markdown, heads)), cells, right=range(first, first + len(rows.columns)))
    if not rows.quiet:
        lines = [*(f"{escape_markdown(text)}\n" for text in rows.answers), *lines]
        lines += ["", *(f"- {escape_markdown(text)}" for text in rows.reasons()), escape_markdown(rows.counts())]
    stream.write("\n".join(lines) + "\n")
