"""A comparison, a gate's decision and an A/B test as JSON for programs. Unknown values are absent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TextIO

from benchhydra.analysis.comparison import Comparison, MetricChange, PointChange, Problem
from benchhydra.analysis.gate import Decision
from benchhydra.render import renderer
from benchhydra.render.ab_report import AbReport
from benchhydra.render.attribution_json import explanation_objects
from benchhydra.render.headlines import comparison_headline, gate_headline

#: 1.1.0: the verdict "unclear" is called "inconclusive". 1.2.0: "problems", "headline", "is_main", and
#: more outcomes. 1.3.0: the verdicts "probably_worse" and "probably_better"; "low" and "high" are ends of the interval
#: that was decided on, with its "level"; "error", "freedom", "repeats_needed", "same_as", "tests",
#: "false_alarm_percent", "probable_regressions", "explanation". 1.4.0: "definitions" of a point, which were among its
#: "differences".
VERSION = "1.4.0"


@renderer("comparison", "json")
def write_comparison(comparison: Comparison, stream: TextIO) -> None:
    """One JSON object: the problems, the points with their metrics, and the points that only one side has."""
    facts: dict[str, Any] = {
        "headline": comparison_headline(comparison),
        "outcome": comparison.outcome.name.lower(),
        "exit_code": int(comparison.outcome),
    }
    _write(facts | _comparison(comparison), stream)


@renderer("gate", "json")
def write_gate(decision: Decision, stream: TextIO) -> None:
    """One JSON object: the decision, and the fields of its comparison."""
    facts = {
        "headline": gate_headline(decision),
        "outcome": decision.outcome.name.lower(),
        "exit_code": int(decision.outcome),
        "confirmed_by_rerun": decision.confirmed,
        "regressions": _changes(decision.regressions),
        "probable_regressions": _changes(decision.probable),
        "reran": list(decision.reran),
        "notes": list(decision.notes),
    }
    _write(_comparison(decision.comparison) | facts | {"problems": _problems(decision.problems)}, stream)


@renderer("ab", "json")
def write_ab(report: AbReport, stream: TextIO) -> None:
    """One JSON object: the outcome and cost of the test, and the fields of its comparison."""
    test = report.test
    facts = {
        "outcome": test.outcome().name.lower(),
        "exit_code": int(test.outcome()),
        "stopped": test.stopped,
        "pairs": test.pairs,
        "server_starts": report.server_starts,
        "wall_s": test.wall_s,
        "main_metrics": [metric.metric for metric in test.main()],
        "overrides": report.overrides,
    }
    _write(facts | _comparison(test.comparison()), stream)


def _write(data: dict[str, Any], stream: TextIO) -> None:
    stream.write(json.dumps(data, indent=1, allow_nan=False) + "\n")


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "json_schema_version": VERSION,
        "tests": comparison.tests,
        "false_alarm_percent": comparison.thresholds.false_alarm_percent,
        "problems": _problems(comparison.problems),
        "points": [_point(point) for point in comparison.points],
        "only_base": list(comparison.only_base),
        "only_candidate": list(comparison.only_candidate),
    }


def _changes(changes: Sequence[tuple[PointChange, MetricChange]]) -> list[dict[str, Any]]:
    return [{"point_key": point.point_key, "metric": metric.metric, "ratio": metric.ratio} for point, metric in changes]


def _problems(problems: Sequence[Problem]) -> list[dict[str, str]]:
    return [
        {"outcome": problem.outcome.name.lower(), "point": problem.point, "text": problem.text} for problem in problems
    ]


def _point(point: PointChange) -> dict[str, Any]:
    return {
        "point_key": point.point_key,
        "label": point.label,
        "invalid": point.invalid,
        "suspect": point.suspect,
        "differences": list(point.differences),
        "definitions": list(point.definitions),
        "notes": list(point.notes),
        "base_runs": [run.run_id for run in point.base],
        "candidate_runs": [run.run_id for run in point.candidate],
        "metrics": [{k: v for k, v in asdict(metric).items() if v is not None} for metric in point.metrics],
        "missing": list(point.missing),
        "explanation": explanation_objects(point),
    }
