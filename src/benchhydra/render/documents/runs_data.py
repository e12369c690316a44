"""Runs for programs: JSON with everything that a run says, CSV with a column a metric."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from typing import Any, TextIO

from benchhydra.analysis.runs import Run
from benchhydra.escaping import csv_cell
from benchhydra.render import renderer
from benchhydra.render.run_rows import RunRows

VERSION = "1.0.0"
FIELDS = ("run_id", "point_key", "label", "script", "model", "dataset", "load", "status", "machine")
OPTIONAL = ("description", "sweep_id", "engine_version", "commit", "source")


@renderer("runs", "json")
def write_json(rows: RunRows, stream: TextIO) -> None:
    """One JSON object: the unit and direction of each metric, and a list of runs. Unknown values are absent."""
    names = list(dict.fromkeys(name for run, _ in rows.rows for name in run.metrics))
    shown = rows.columns if rows.metrics else names
    document = {
        "json_schema_version": VERSION,
        "metrics": {n: {"unit": rows.runs.kinds[n].unit, "better": rows.runs.kinds[n].better.value} for n in shown},
        **({"answers": list(rows.answers)} if rows.answers else {}),
        "runs": [_run(run, settings, shown) for run, settings in rows.rows],
    }
    stream.write(json.dumps(document, indent=1, allow_nan=False) + "\n")


def _run(run: Run, settings: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {
        **{name: getattr(run, name) for name in FIELDS},
        **{name: getattr(run, name) for name in OPTIONAL if getattr(run, name)},
        "date": _date(run),
        "verdict": run.verdict.value,
        "reasons": list(run.reasons),
        "settings": {key: value if _is_json(value) else str(value) for key, value in settings.items()},
        "metrics": {name: run.metrics[name] for name in names if name in run.metrics},
    }


def _is_json(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, list, dict)) or abs(value) < float("inf")


@renderer("runs", "csv")
def write_csv(rows: RunRows, stream: TextIO) -> None:
    """A row a run: what tells the runs apart, id, date, verdict, file, and the metrics. Unknown values are empty."""
    measured = list(dict.fromkeys(name for run, _ in rows.rows for name in run.metrics))
    columns = rows.columns if rows.metrics else measured
    keys = [key for key in rows.keys if key != "run_id"]
    writer = csv.writer(stream, lineterminator="\n")
    if not rows.quiet:
        writer.writerow(map(csv_cell, [*keys, "run_id", "label", "date", "verdict", "source", *columns]))
    for run, settings in rows.rows:
        texts = [str(settings[key]) if key in settings else str(getattr(run, key)) for key in keys]
        texts += [run.run_id, run.label, _date(run), run.verdict, run.source]
        values = [repr(run.metrics[name]) if name in run.metrics else "" for name in columns]
        writer.writerow([*map(csv_cell, texts), *values])


def _date(run: Run) -> str:
    return datetime.fromtimestamp(run.epoch_time, UTC).isoformat(timespec="seconds")
