"""Export as CSV: one row a result, one column a metric, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchhydra.artifacts import atomic_path
from benchhydra.formats import exporter
from benchhydra.metrics import table
from benchhydra.result import Result

FILE = "results.csv"


@exporter("csv")
def export(results: Sequence[Result], directory: Path) -> list[Path]:
    """Write ``results.csv``. Results of every verdict are rows; see the column ``verdict``. Raises OSError."""
    rows = [_facts(result) | {key: metric.value for key, metric in result.metrics.items()} for result in results]
    path = directory / FILE
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=_columns(results), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return [path]


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
