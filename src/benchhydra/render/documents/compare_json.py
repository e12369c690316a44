"""A comparison, and a gate's decision, as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from benchhydra.analysis.compare import Comparison, PointChange
from benchhydra.analysis.gate import Decision

VERSION = "1.0.0"


def compare_json(found: Comparison) -> str:
    """The comparison as a JSON text; unknown is absent."""
    return json.dumps(_comparison(found), indent=1, allow_nan=False) + "\n"


def gate_json(decision: Decision) -> str:
    """The decision as a JSON text."""
    data = {
        "outcome": decision.outcome.name.lower(),
        "exit_code": int(decision.outcome),
        "confirmed_by_rerun": decision.confirmed,
        "regressions": [
            {"point_key": p.point_key, "metric": m.metric, "ratio": m.ratio} for p, m in decision.regressions
        ],
        "reran": list(decision.reran),
        "notes": list(decision.notes),
    }
    return json.dumps(data | _comparison(decision.comparison), indent=1, allow_nan=False) + "\n"


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        "json_schema_version": VERSION,
        "points": [_point(point) for point in found.points],
        "only_base": list(found.only_base),
        "only_candidate": list(found.only_candidate),
    }


def _point(point: PointChange) -> dict[str, Any]:
    return {
        "point_key": point.point_key,
        "label": point.label,
        "invalid": point.invalid,
        "suspect": point.suspect,
        "differences": list(point.differences),
        "notes": list(point.notes),
        "base_runs": [run.run_id for run in point.base],
        "candidate_runs": [run.run_id for run in point.candidate],
        "metrics": [{k: v for k, v in asdict(metric).items() if v is not None} for metric in point.metrics],
        "missing": list(point.missing),
    }
