"""The summary of repeated points: the mean of every metric and its 95 % t-interval."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchhydra.points import Outcome, override_key
from benchhydra.search.intervals import mean_interval


def summarize_repeats(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """The entries of ``repeats`` in ``sweep.json``: one for each point with two or more ok measurements.

    Each has the mean and the 95 % t-interval of every metric that all measurements of the point have.
    """
    by_point: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status == "ok":
            by_point.setdefault(outcome.identity[:2], []).append(outcome)
    return [_summary(members) for members in by_point.values() if len(members) > 1]


def _summary(members: list[Outcome]) -> dict[str, Any]:
    first = members[0]
    shared = set.intersection(*(set(member.metrics) for member in members))
    metrics = {}
    for name in (name for name in first.metrics if name in shared):
        interval = mean_interval([member.metrics[name] for member in members])
        if interval is not None:
            mean, half_width = interval
            metrics[name] = {"mean": mean, "low": mean - half_width, "high": mean + half_width}
    return {
        "overrides": [override for override in first.overrides if override_key(override) != "repeat"],
        "point_key": first.point_key,
        "variant": first.variant,
        "repeats": len(members),
        "confidence": 0.95,
        "metrics": metrics,
    }
