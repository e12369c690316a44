"""What the repeats of a point come to, on each of their MLflow runs: ``repeats/METRIC_mean``, ``_low``, ``_high``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchhydra.render.sweep_rows import KEY_METRICS
from benchhydra.tracking import entry, store

PREFIX = "repeats/"
PARTS = ("mean", "low", "high")


def repeat_metrics(repeated: Mapping[str, Any]) -> dict[str, float]:
    """The metrics to log, of an entry of ``repeats`` in ``sweep.json``: those that tables show."""
    shown = {name for names in KEY_METRICS.values() for name in names}
    known = {name: found for name, found in repeated["metrics"].items() if name in shown}
    return {entry.mlflow_key(f"{PREFIX}{name}_{part}"): found[part] for name, found in known.items() for part in PARTS}


def log_repeat_metrics(opened: store.MlflowStore, run_ids: Iterable[str], repeated: Mapping[str, Any]) -> None:
    """Log them on the runs. Raises one of ``store.failures()``."""
    from mlflow.entities import Metric, RunTag

    now_ms = int(time.time() * 1000)
    metrics = [Metric(name, value, now_ms, 0) for name, value in repeat_metrics(repeated).items()]
    for run_id in run_ids:
        opened.client.log_batch(run_id, metrics=metrics, tags=[RunTag("repeats", str(repeated["repeats"]))])


def read_run_ids(directories: Iterable[Path], link_file: str) -> list[str]:
    """The MLflow runs of points, from what logging left in their directories."""
    found = []
    for directory in directories:
        try:
            found.append(str(json.loads((directory / link_file).read_text(encoding="utf-8"))["run_id"]))
        except (OSError, ValueError, KeyError):
            continue
    return found
