"""The main metrics of a comparison against the load: the base and the candidate of each line of points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchhydra.analysis.comparison import Comparison, MetricChange, PointChange
from benchhydra.analysis.pairing import point_settings_of
from benchhydra.analysis.runs import Run
from benchhydra.render.comparison_summary import CHANGED
from benchhydra.report.data.axes import value_axis
from benchhydra.report.data.benchmarks import rounded
from benchhydra.report.data.details import distinguishing_keys
from benchhydra.report.data.sweep_curves import axis_data, load_axis
from benchhydra.report.data.sweep_points import QPS_COPIES, number_of, settings_text


def comparison_curves(comparison: Comparison, metrics: Sequence[str]) -> dict[str, Any]:
    """The axis, and a chart for each of the metrics; no charts if no number varies between the points."""
    settings = [point_settings_of(point.candidate[-1]) for point in comparison.points]
    axis = load_axis(settings)
    if not axis:
        return {"axis": None, "charts": []}
    keys = [key for key in distinguishing_keys(settings, without=QPS_COPIES) if key != axis]
    names = [settings_text(of_point, keys) for of_point in settings]
    places = [number_of(of_point.get(axis)) for of_point in settings]
    placed = [
        (x, name, point) for x, name, point in zip(places, names, comparison.points, strict=True) if x is not None
    ]
    in_order = sorted(metrics, key=lambda metric: _gravity(comparison, metric))
    charts = [_chart(metric, sorted(placed, key=lambda item: item[0])) for metric in in_order]
    return {"axis": axis_data(axis), "charts": [chart for chart in charts if chart["lines"]]}


def _gravity(comparison: Comparison, metric: str) -> int:
    """Metrics that changed come first, the worse ones before the better ones."""
    changes = {change.change for _, change in comparison.metrics if change.metric == metric}
    return next((i for i, verdict in enumerate(CHANGED) if verdict in changes), len(CHANGED))


def _chart(metric: str, placed: Sequence[tuple[float, str, PointChange]]) -> dict[str, Any]:
    lines: dict[str, dict[str, list[Any]]] = {}
    for x, name, point in placed:
        change = next((change for change in point.metrics if change.metric == metric), None)
        if change is not None:
            line = lines.setdefault(name, {"base": [], "candidate": [], "changes": []})
            line["base"].append(_position(x, change.base, metric, point.base))
            line["candidate"].append(_position(x, change.candidate, metric, point.candidate))
            line["changes"].append(_change(change))
    levels = [position[1] for line in lines.values() for side in ("base", "candidate") for position in line[side]]
    return {
        "metric": metric,
        "range": value_axis(levels),
        "lines": [{"name": name} | line for name, line in lines.items()],
    }


def _position(x: float, level: float, metric: str, runs: Sequence[Run]) -> list[float | None]:
    """Place on the axis, level, and the smallest and largest value of the usable runs."""
    values = [run.metrics[metric] for run in runs if run.usable and metric in run.metrics] or [level]
    return [x, rounded(level), rounded(min(values)), rounded(max(values))]


def _change(change: MetricChange) -> Mapping[str, Any]:
    return {"ratio": rounded(change.ratio), "change": change.change.value}
