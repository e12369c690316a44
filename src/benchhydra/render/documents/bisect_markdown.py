"""The answer of a bisection as Markdown: for an issue, a pull request, a CI job's page."""

from __future__ import annotations

from typing import TextIO

from benchhydra.escaping import escape_markdown
from benchhydra.render import renderer
from benchhydra.render.bisect_report import TABLE_COLUMNS, BisectReport
from benchhydra.render.text import markdown_table


@renderer("bisect", "markdown")
def write(report: BisectReport, stream: TextIO) -> None:
    """The answer, the tested builds, then what the answer rests on."""
    parts = [f"**{escape_markdown(report.headline())}**\n"]
    if report.rows():
        rows = [[escape_markdown(cell) for cell in row] for row in report.rows()]
        parts.append("\n".join(markdown_table(list(TABLE_COLUMNS), rows)) + "\n")
    parts.append("\n".join(f"- {escape_markdown(line)}" for line in report.lines()) + "\n")
    stream.write("\n".join(parts))
