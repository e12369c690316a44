"""A comparison as data: what changed between two sources, side by side. The verdicts are those of ``compare``."""

from __future__ import annotations

from typing import Any

from benchhydra.analysis.comparison import ChangeVerdict, Comparison, MetricChange, PointChange
from benchhydra.render.headlines import comparison_headline
from benchhydra.render.verdict_words import GATE_WORDS, change_words
from benchhydra.report.data.benchmarks import rounded
from benchhydra.report.data.details import file_slug


def comparison_data(comparison: Comparison, base: str, candidate: str) -> dict[str, Any]:
    """All that the page shows. base, candidate: what the user called the two sources."""
    return {
        "base": base,
        "candidate": candidate,
        "headline": comparison_headline(comparison),
        "exit_code": int(comparison.outcome),
        "problems": [f"{GATE_WORDS[problem.outcome]}: {problem.sentence}" for problem in comparison.problems],
        "counts": {change.value: comparison.count(change) for change in ChangeVerdict},
        "points": [_point(point) for point in comparison.points],
        "only_base": list(comparison.only_base),
        "only_candidate": list(comparison.only_candidate),
        "false_alarm_percent": comparison.thresholds.false_alarm_percent,
    }


def _point(point: PointChange) -> dict[str, Any]:
    return {
        "label": point.label,
        "invalid": point.invalid,
        "suspect": point.suspect,
        "differences": list(point.differences),
        "missing": list(point.missing),
        "base": [_run(run.run_id, run.verdict.value) for run in point.base],
        "candidate": [_run(run.run_id, run.verdict.value) for run in point.candidate],
        "metrics": [_metric(metric) for metric in point.metrics],
    }


def _run(run_id: str, verdict: str) -> dict[str, str]:
    return {"run": file_slug(run_id), "verdict": verdict}


def _metric(metric: MetricChange) -> dict[str, Any]:
    return {
        "metric": metric.metric,
        "unit": metric.unit,
        "better": metric.better.value,
        "base": rounded(metric.base),
        "candidate": rounded(metric.candidate),
        "ratio": rounded(metric.ratio),
        "low": rounded(metric.low),
        "high": rounded(metric.high),
        "change": metric.change.value,
        "verdict_text": change_words(metric),
    }
