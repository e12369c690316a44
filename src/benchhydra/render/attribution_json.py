"""Why latencies changed, as objects of JSON documents: a comparison's, and the page's."""

from __future__ import annotations

from typing import Any

from benchhydra.analysis.attribution import Explanation, explain
from benchhydra.analysis.comparison import PointChange
from benchhydra.render.attribution_lines import explanation_lines


def explanation_objects(point: PointChange) -> list[dict[str, Any]]:
    """One object for each latency of a point that really changed. Unknown values are absent."""
    return [_object(explanation) for explanation in explain(point)]


def _object(explanation: Explanation) -> dict[str, Any]:
    return {
        "metric": explanation.metric,
        "base_ms": explanation.base_ms,
        **_change(explanation.change_ms, explanation.low_ms, explanation.high_ms),
        "probable": explanation.probable,
        "parts": [
            {"name": part.name, **_change(part.change_ms, part.low_ms, part.high_ms)} for part in explanation.parts
        ],
        "unaccounted_ms": explanation.unaccounted_ms,
        "adds_up": explanation.adds_up,
        "moved": [
            {
                "name": move.name,
                "metric": move.metric,
                "unit": move.unit,
                "base": move.base,
                "candidate": move.candidate,
            }
            for move in explanation.moved
        ],
        "causes": [
            {
                "name": likely.cause.name,
                "text": likely.text,
                "fraction": likely.fraction,
                "change_ms": likely.change_ms,
                "metrics": list(likely.cause.metrics),
            }
            for likely in explanation.causes
        ],
        "lines": explanation_lines([explanation]),
    }


def _change(change_ms: float, low_ms: float | None, high_ms: float | None) -> dict[str, float]:
    values = {"change_ms": change_ms, "low_ms": low_ms, "high_ms": high_ms}
    return {name: value for name, value in values.items() if value is not None}
