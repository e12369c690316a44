"""A sweep as Markdown: its ``summary.md``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from benchhydra.escaping import escape_markdown
from benchhydra.render import answer_rows, renderer
from benchhydra.render.optimum_rows import optimum_lines, optimum_of, trial_columns, trial_rows
from benchhydra.render.repeat_rows import TITLE, repeat_table
from benchhydra.render.sweep_rows import PointRow, SweepRows, table_metrics, unit_and_arrow, varying_overrides
from benchhydra.render.text import markdown_table


@renderer("sweep", "markdown")
def write_sweep(sweep: SweepRows, stream: TextIO) -> None:
    """Counts, the command, answers of searches, one table a script, the repeats, and why points are not VALID."""
    lines = ["# Summary", "", *(f"{escape_markdown(text)}\n" for text in sweep.descriptions())]
    lines += [escape_markdown(sweep.counts()), ""]
    if sweep.facts.get("command"):
        lines += [f"Command: {escape_markdown(str(sweep.facts['command']))}", ""]
    lines += _answers(sweep)
    for answer in answer_rows.answers_of(sweep):
        lines += _trials(answer)
    for script, rows in sweep.by_script().items():
        lines += [f"## {escape_markdown(script or 'no result')}", "", *_table(rows), ""]
    lines += _repeats(sweep)
    lines += _reasons(sweep)
    stream.write("\n".join(lines).rstrip() + "\n")


def _answers(sweep: SweepRows) -> list[str]:
    columns, rows = answer_rows.answer_table(sweep)
    escaped = [[escape_markdown(cell) for cell in cells] for cells in rows]
    return ["## Answers", "", *markdown_table(columns, escaped), ""] if rows else []


def _trials(answer: Mapping[str, Any]) -> list[str]:
    """The trials of ``search=optimize`` in rank order, and what follows from them."""
    optimum = optimum_of(answer)
    if optimum is None:
        return []
    rows = [[escape_markdown(cell) for cell in row] for row in trial_rows(optimum, len(optimum["trials"]))]
    columns = [escape_markdown(name) for name in trial_columns(optimum)]
    lines = [f"- {escape_markdown(line)}" for line in optimum_lines(answer)]
    return ["## Trials", "", *lines, "", *markdown_table(columns, rows), ""]


def _table(rows: Sequence[PointRow]) -> list[str]:
    metrics, varying = table_metrics(rows), varying_overrides(rows)
    slo = ["SLO"] if any(row.decision for row in rows) else []
    heads = [*map(escape_markdown, varying), *(_head(rows, name) for name in metrics), "verdict", *slo]
    cells = (
        [
            *_overrides(row, varying),
            *row.values(metrics),
            escape_markdown(row.verdict_words),
            *([escape_markdown(row.decision)] if slo else []),
        ]
        for row in rows
    )
    return markdown_table(heads, cells, right=range(len(varying), len(varying) + len(metrics)))


def _overrides(row: PointRow, keys: Sequence[str]) -> list[str]:
    return [escape_markdown(row.overrides.get(key, "")) for key in keys]


def _repeats(sweep: SweepRows) -> list[str]:
    repeats = repeat_table(sweep)
    if repeats is None:
        return []
    heads = [*map(escape_markdown, (*repeats.keys, "n")), *(_head(sweep.rows, name) for name in repeats.metrics)]
    rows = ([escape_markdown(cell) for cell in cells] for cells in repeats.rows)
    first_metric = len(repeats.keys) + 1
    return [f"## {TITLE}", "", *markdown_table(heads, rows, right=range(first_metric, len(heads))), ""]


def _reasons(sweep: SweepRows) -> Iterator[str]:
    yield from (f"- {escape_markdown(line)}" for line in sweep.reasons())


def _head(rows: Sequence[PointRow], metric: str) -> str:
    return escape_markdown(f"{metric}, {unit_and_arrow(rows, metric)}")
