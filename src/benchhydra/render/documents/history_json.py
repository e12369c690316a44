"""The history of points as JSON for programs: values over time, and changes of their level."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TextIO

from benchhydra.analysis.history import LevelChange, MetricHistory
from benchhydra.render import renderer

#: 1.1.0: "system", the settings in which a point differs from others of the same label.
VERSION = "1.1.0"


@renderer("history", "json")
def write_history(histories: Iterable[MetricHistory], stream: TextIO) -> None:
    """A JSON object with one series for each point, metric and class of machines. Unknown values are absent."""
    document = {"json_schema_version": VERSION, "series": [_series(history) for history in histories]}
    stream.write(json.dumps(document, indent=1, allow_nan=False) + "\n")


def _series(history: MetricHistory) -> dict[str, Any]:
    newest = history.runs[-1]
    series = {
        "point_key": newest.point_key,
        "label": newest.label,
        "system": dict(history.system),
        "machine_class": newest.machine,
        "metric": history.metric,
        "unit": history.kind.unit,
        "better": history.kind.better.value,
        "run_ids": [run.run_id for run in history.runs],
        "epoch_times": [run.epoch_time for run in history.runs],
        "values": list(history.values),
        "changes": [_change(change) for change in history.changes],
    }
    return series if history.noise is None else {**series, "noise": history.noise}


def _change(change: LevelChange) -> dict[str, Any]:
    words = {True: "better", False: "worse", None: "changed"}
    return {
        "before": change.before.run_id,
        "after": change.after.run_id,
        "ratio": change.step.ratio - 1,
        "direction": words[change.better],
    }
