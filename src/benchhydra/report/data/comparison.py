"""A comparison as data: what changed between two sources, side by side. The verdicts are those of ``compare``."""

from __future__ import annotations

from typing import Any

from benchhydra.analysis.comparison import ChangeVerdict, Comparison, MetricChange, PointChange
from benchhydra.render import comparison_rows, comparison_summary
from benchhydra.render.attribution_json import explanation_objects
from benchhydra.render.attribution_lines import point_why_lines, why_lines
from benchhydra.render.headlines import comparison_headline
from benchhydra.render.verdict_words import GATE_WORDS, change_words
from benchhydra.report.data.benchmarks import rounded
from benchhydra.report.data.comparison_curves import comparison_curves
from benchhydra.report.data.details import file_slug


def comparison_data(comparison: Comparison, base: str, candidate: str) -> dict[str, Any]:
    """All that the page shows. base, candidate: what the user called the two sources."""
    return {
        "base": base,
        "candidate": candidate,
        "headline": comparison_headline(comparison),
        "definitions": comparison_summary.definition_lines(comparison),
        "sides": comparison_summary.sides_line(comparison) if comparison.points else "",
        "why": why_lines(comparison),
        "exit_code": int(comparison.outcome),
        "problems": [f"{GATE_WORDS[problem.outcome]}: {problem.sentence}" for problem in comparison.problems],
        "counts": {change.value: comparison.count(change) for change in ChangeVerdict},
        "matrix": _matrix(comparison),
        "remarks": comparison_summary.remark_lines(comparison),
        "curves": comparison_curves(comparison, comparison_summary.main_names(comparison)),
        "points": [_point(point) for point in comparison.points],
        "only_base": list(comparison.only_base),
        "only_candidate": list(comparison.only_candidate),
        "false_alarm_percent": comparison.thresholds.false_alarm_percent,
    }


def _matrix(comparison: Comparison) -> dict[str, Any]:
    """Points by main metrics, as ``compare`` prints it."""
    names = comparison_summary.main_names(comparison)
    shared, rows = comparison_summary.point_names(comparison.points) if comparison.points else ("", [])
    return {
        "shared": shared,
        "metrics": [{"name": name, "head": list(comparison_summary.matrix_head(name))} for name in names],
        "rows": [
            {"name": row, "cells": [_cell(point, name) for name in names]}
            for row, point in zip(rows, comparison.points, strict=True)
        ],
        "legend": comparison_summary.LEGEND,
        "equal": comparison_summary.equal_line(comparison),
    }


def _cell(point: PointChange, name: str) -> dict[str, Any]:
    text, verdict = comparison_summary.matrix_cell(point, name)
    ratio = next((metric.ratio for metric in point.metrics if metric.metric == name), None)
    return {
        "text": text,
        "percent": None if ratio is None else rounded(100 * ratio),
        "change": verdict.value if verdict else "",
    }


def _point(point: PointChange) -> dict[str, Any]:
    return {
        "label": point.label,
        "invalid": point.invalid,
        "suspect": point.suspect,
        "differences": list(point.differences),
        "notes": [*point.notes, *comparison_rows.equal_sentences(point)],
        "missing": list(point.missing),
        "base": [_run(run.run_id, run.verdict.value) for run in point.base],
        "candidate": [_run(run.run_id, run.verdict.value) for run in point.candidate],
        "metrics": [_metric(metric) for metric in comparison_rows.shown_metrics(point)],
        "explanation": [_explanation(each) for each in explanation_objects(point)],
        "why": point_why_lines(point),
    }


def _explanation(explanation: dict[str, Any]) -> dict[str, Any]:
    """What the bars show: the parts of a change, which add up to it."""
    return {
        "metric": explanation["metric"],
        "change_ms": rounded(explanation["change_ms"]),
        "parts": [_part(part) for part in explanation["parts"]],
        "adds_up": explanation["adds_up"],
        "moved": [_move(move) for move in explanation["moved"]],
    }


def _move(move: dict[str, Any]) -> dict[str, Any]:
    """A figure that moved beside the latency."""
    return {
        "name": move["name"],
        "unit": move["unit"],
        "base": rounded(move["base"]),
        "candidate": rounded(move["candidate"]),
    }


def _part(part: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": part["name"],
        "change_ms": rounded(part["change_ms"]),
        "low_ms": rounded(part.get("low_ms")),
        "high_ms": rounded(part.get("high_ms")),
    }


def _run(run_id: str, verdict: str) -> dict[str, str]:
    return {"run": file_slug(run_id), "verdict": verdict}


def _metric(metric: MetricChange) -> dict[str, Any]:
    return {
        "metric": metric.metric,
        "unit": metric.unit,
        "better": metric.better.value,
        "is_main": metric.is_main,
        "base": rounded(metric.base),
        "candidate": rounded(metric.candidate),
        "ratio": rounded(metric.ratio),
        "low": rounded(metric.low),
        "high": rounded(metric.high),
        "change": metric.change.value,
        "verdict_text": change_words(metric),
    }
