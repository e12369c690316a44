"""A sweep as CSV: its ``summary.csv``, and the answers of its searches, ``answers.csv``."""

from __future__ import annotations

import csv
from typing import TextIO

from benchhydra.escaping import csv_cell
from benchhydra.render import renderer
from benchhydra.render.answer_rows import answers_of
from benchhydra.render.answer_text import figures_of
from benchhydra.render.sweep_rows import SweepRows, split_overrides


@renderer("sweep", "csv")
def write_sweep(sweep: SweepRows, stream: TextIO) -> None:
    """One row a point, one column for each varying override and each metric; unknown values are empty."""
    metrics = list(dict.fromkeys(name for row in sweep.rows if row.result for name in row.result.metrics))
    varying = [key for key in sweep.varying if key != "repeat"]
    slo = ["slo"] if any(row.decision for row in sweep.rows) else []
    heads = [*varying, "repeat", "script", "status", "verdict", *slo, "reasons", "description", "dir", *metrics]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(csv_cell, heads))
    for row in sweep.rows:
        cells = [row.overrides.get(key, "") for key in varying]
        cells += [str(row.result.repeat) if row.result else "", row.script, row.status, row.verdict]
        cells += [row.decision] if slo else []
        cells += ["; ".join(row.reasons), row.result.description if row.result else "", row.directory]
        values = [row.result.value(name) if row.result else None for name in metrics]
        writer.writerow([csv_cell(cell) for cell in cells] + ["" if v is None else repr(v) for v in values])


#: Fields of an answer that are columns of ``answers.csv``, before the figures that go with it.
ANSWER_FIELDS = ("name", "value", "low", "high", "unit", "bound", "limited_by", "probes", "note", "error")


def write_answers(sweep: SweepRows, stream: TextIO) -> None:
    """One row an answer: the search, the overrides that tell the systems apart, the answer, what is yielded there."""
    answers = answers_of(sweep)
    shared = [split_overrides(answer.get("overrides") or ()) for answer in answers]
    keys = [key for key in sweep.varying if any(key in overrides for overrides in shared)]
    figures = [{str(figure.get("name")): figure.get("value") for figure in figures_of(answer)} for answer in answers]
    names = list(dict.fromkeys(name for values in figures for name in values))
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(csv_cell, ["search", *keys, *ANSWER_FIELDS, *names]))
    for answer, overrides, values in zip(answers, shared, figures, strict=True):
        cells = [answer.get("search"), *map(overrides.get, keys), *map(answer.get, ANSWER_FIELDS)]
        writer.writerow([_cell(cell) for cell in [*cells, *map(values.get, names)]])


def _cell(value: object) -> str:
    """A number in full, another value as a text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    return repr(value) if isinstance(value, int | float) else csv_cell(str(value))
