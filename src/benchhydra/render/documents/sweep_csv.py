"""A sweep as CSV: its ``summary.csv``."""

from __future__ import annotations

import csv
from typing import TextIO

from benchhydra.escaping import csv_cell
from benchhydra.render import renderer
from benchhydra.render.sweep_rows import SweepRows


@renderer("sweep", "csv")
def write_sweep(sweep: SweepRows, stream: TextIO) -> None:
    """One row a point, one column for each varying override and each metric; unknown values are empty."""
    metrics = list(dict.fromkeys(name for row in sweep.rows if row.result for name in row.result.metrics))
    varying = [key for key in sweep.varying if key != "repeat"]
    heads = [*varying, "repeat", "script", "status", "verdict", "reasons", "description", "dir", *metrics]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(csv_cell, heads))
    for row in sweep.rows:
        cells = [row.overrides.get(key, "") for key in varying]
        cells += [str(row.result.repeat) if row.result else "", row.script, row.status, row.verdict]
        cells += ["; ".join(row.reasons), row.result.description if row.result else "", row.directory]
        values = [row.result.value(name) if row.result else None for name in metrics]
        writer.writerow([csv_cell(cell) for cell in cells] + ["" if v is None else repr(v) for v in values])
