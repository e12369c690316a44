"""Export as CSV: one row a result, one column a metric, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchhydra.artifacts import atomic_path
from benchhydra.escaping import csv_cell
from benchhydra.formats import exporter
from benchhydra.metrics import table
from benchhydra.redaction import redact
from benchhydra.result import Result

FILE = "results.csv"


@exporter("csv")
def export(results: Sequence[Result], directory: Path) -> list[Path]:
    """Write ``results.csv``. Results of every verdict are rows; see the column ``verdict``. Raises OSError."""
    rows = [_facts(result) | {key: metric.value for key, metric in result.metrics.items()} for result in results]
    path = directory / FILE
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        columns = _columns(results)
        writer = csv.writer(file)
        writer.writerow(map(csv_cell, columns))
        writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return [path]


def _cell(value: Any) -> Any:
    return csv_cell(redact(value)) if isinstance(value, str) else "" if value is None else value


def _columns(results: Sequence[Result]) -> list[str]:
    measured = {key for result in results for key in result.metrics}
    declared = [name for name in table() if name in measured]
    return [*_facts(results[0]), *declared, *sorted(measured - set(declared))]


def _facts(result: Result) -> dict[str, Any]:
    config = result.config
    return {
        "run_id": result.run_id,
        "sweep_id": result.sweep_id,
        "point_key": result.point_key,
        "repeat": result.repeat,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(result.epoch_time)),
        "status": result.status,
        "verdict": result.verdict.value,
        "reasons": "; ".join(reason.text for reason in result.reasons),
        "description": result.description,
        "script": result.script,
        "model": result.model,
        "dataset": result.dataset,
        "qps": config.get("qps"),
        "num_prompts": config.get("num_prompts"),
        "tensor_parallel_size": result.tensor_parallel_size,
        "engine_version": result.engine_version,
        "machine_class": result.environment.get("machine_class"),
        "commit": (result.environment.get("git") or {}).get("commit"),
    }
