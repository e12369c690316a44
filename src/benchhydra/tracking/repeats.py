"""Log the summary of a point's repeats on the MLflow run of each: ``repeats/METRIC_mean``, ``_low``, ``_high``."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchhydra.artifacts import RESULT_FILE
from benchhydra.errors import ResultError
from benchhydra.result import Result
from benchhydra.tracking import entry, store

PREFIX = "repeats/"
PARTS = ("mean", "low", "high")


def read_key_metrics(directories: Sequence[Path]) -> list[str]:
    """The names of the key metrics of the results in these directories. Unreadable results are ignored."""
    results = [_read(directory) for directory in directories if (directory / RESULT_FILE).is_file()]
    return list(dict.fromkeys(name for result in results if result for name in result.key_metrics))


def repeat_metrics(repeated: Mapping[str, Any], names: Collection[str]) -> dict[str, float]:
    """The metrics to log for an entry of ``repeats`` in ``sweep.json``: mean and interval bounds of ``names``."""
    spreads = {name: spread for name, spread in repeated["metrics"].items() if name in names}
    return {
        entry.mlflow_key(f"{PREFIX}{name}_{part}"): entry.rounded(spread[part])
        for name, spread in spreads.items()
        for part in PARTS
    }


def log_repeat_metrics(
    opened: store.MlflowStore, run_ids: Iterable[str], repeats: int, metrics: Mapping[str, float]
) -> None:
    """Log the metrics, and the number of repeats as a tag, on the runs. Raises one of ``store.failures()``."""
    from mlflow.entities import Metric, RunTag

    now_ms = int(time.time() * 1000)
    values = [Metric(name, value, now_ms, 0) for name, value in metrics.items()]
    for run_id in run_ids:
        opened.client.log_batch(run_id, metrics=values, tags=[RunTag("repeats", str(repeats))])


def _read(directory: Path) -> Result | None:
    try:
        return Result.read(directory)
    except ResultError:
        return None
