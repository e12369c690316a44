"""The answer of a bisection as JSON for programs, and the command that resumes it. Unknown values are absent."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, TextIO

from benchhydra.analysis.bisect_run import BisectStep
from benchhydra.render import renderer
from benchhydra.render.attribution_json import explanation_objects
from benchhydra.render.bisect_report import BisectReport

VERSION = "1.0.0"


@renderer("bisect", "json")
def write(report: BisectReport, stream: TextIO) -> None:
    """One JSON object: the answer, the size of the change, the line of builds, and the tests."""
    run = report.run
    change = run.change()
    outcome, suspects = run.outcome(), [run.names[build] for build in run.bisection.suspects]
    data: dict[str, Any] = {
        "json_schema_version": VERSION,
        "headline": report.headline(),
        "outcome": outcome.name.lower(),
        "exit_code": int(outcome),
        "stopped": run.stopped or None,
        "first_bad": suspects[0] if len(suspects) == 1 and run.first_test is not None and not run.stopped else None,
        "suspects": suspects,
        "last_good": run.names[run.bisection.last_good],
        "metric": run.metric,
        "change": {k: v for k, v in asdict(change).items() if v is not None} if change is not None else None,
        "explanation": [item for point in report.comparison().points for item in explanation_objects(point)],
        "differences": [line for point in report.comparison().points for line in point.differences],
        "error_percent": run.error * 100,
        "wall_s": run.wall_s,
        "builds": [{"name": name, "typed": typed} for name, typed in zip(run.names, report.typed, strict=True)],
        "steps": [_step(report, step) for step in run.steps],
        "command": list(report.command),
    }
    stream.write(json.dumps({k: v for k, v in data.items() if v is not None}, indent=1, allow_nan=False) + "\n")


def _step(report: BisectReport, step: BisectStep) -> dict[str, Any]:
    data: dict[str, Any] = {
        "build": report.run.names[step.build],
        "verdict": str(step.verdict) if step.verdict is not None else None,
        "reason": step.reason or None,
        "rounds": len(step.test.rounds) if step.test is not None else 0,
        "error": step.error,
    }
    if step.test is not None and step.test.rounds:
        data["worse_than_good"], data["better_than_bad"] = step.test.ratios()
    return {key: value for key, value in data.items() if value is not None}
