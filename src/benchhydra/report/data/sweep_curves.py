"""The charts of a sweep: metrics against its load, and metrics against each other with their Pareto front.

Which metrics those are is what the results say of themselves (``key_metrics``, ``charts``), and what users and machines
get and cost (``USER_AND_GPU``, ``EFFICIENCY``) wherever that was measured: no script is known here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import Any

from benchhydra.analysis.runs import MetricKind, ScriptHighlights
from benchhydra.report.data.axes import value_axis
from benchhydra.report.data.details import distinguishing_keys
from benchhydra.report.data.sweep_points import SweepPoint, number_of
from benchhydra.result import Better

#: Config keys of loads, with their units: the first that varies is the axis; else any number that varies.
LOAD_KEYS = {"qps": "requests/s", "load.max_in_flight": "requests in flight", "num_prompts": "prompts"}
#: ``p99_ttft_ms`` is a statistic of ``ttft_ms``.
STATISTIC = re.compile(r"(?:mean|median|std|max|p\d+(?:\.\d+)?)_(.+)")
#: What a GPU yields against what a user gets: shown wherever both were measured.
USER_AND_GPU = ("output_throughput_per_user", "output_throughput_per_gpu")
#: The trade-offs that come first: what the server yields against what a user waits for, and the above.
PARETO_FRONTS = (("output_throughput", "p99_e2el_ms"), USER_AND_GPU)
#: Power, energy and cost are drawn against the load wherever they were measured.
EFFICIENCY = ("mean_gpu_power_w", "gpu_j_per_output_token", "cpu_j_per_output_token", "cost_per_1m_output_tokens")


def curves_data(
    points: Sequence[SweepPoint], highlights: ScriptHighlights, kinds: Mapping[str, MetricKind]
) -> dict[str, Any]:
    """The points with the metrics that are drawn, the curves against the axis, and the trade-offs."""
    measured = {metric for point in points for run in point.usable for metric in run.metrics}
    families = curve_families([name for name in highlights.key_metrics if name in measured], measured, kinds)
    pairs = trade_offs(families, highlights.charts, measured, kinds)
    families |= {name: [name] for name in EFFICIENCY if name in measured and name not in families}
    drawn = dict.fromkeys(
        [*(name for names in families.values() for name in names), *(xy for pair in pairs for xy in pair)]
    )
    return {
        "points": [point.data(list(drawn)) for point in points],
        "curves": [
            {"name": name, "metrics": metrics, "range": _range(points, metrics)} for name, metrics in families.items()
        ],
        "trade_offs": [_trade_off(points, x, y, kinds) for x, y in pairs],
    }


def _trade_off(points: Sequence[SweepPoint], x: str, y: str, kinds: Mapping[str, MetricKind]) -> dict[str, Any]:
    return {
        "x": x,
        "y": y,
        "x_range": value_axis(_medians(points, [x])),
        "y_range": value_axis(_medians(points, [y])),
        "front": front(points, x, y, kinds),
    }


def _range(points: Sequence[SweepPoint], metrics: Sequence[str]) -> dict[str, Any]:
    return value_axis(_medians(points, metrics), from_zero=True)


def _medians(points: Sequence[SweepPoint], metrics: Sequence[str]) -> list[float]:
    return [median(values) for point in points for metric in metrics if (values := point.values(metric))]


def load_axis(configs: Sequence[Mapping[str, Any]]) -> str:
    """The config key that metrics are drawn against; empty where no number varies."""
    for key in dict.fromkeys((*LOAD_KEYS, *distinguishing_keys(configs))):
        if len({number for config in configs if (number := number_of(config.get(key))) is not None}) > 1:
            return key
    return ""


def axis_data(key: str) -> dict[str, str] | None:
    """The axis with its unit; None without one."""
    return {"key": key, "unit": LOAD_KEYS.get(key, "")} if key else None


def curve_families(
    key_metrics: Sequence[str], measured: Collection[str], kinds: Mapping[str, MetricKind]
) -> dict[str, list[str]]:
    """What is drawn against the axis, a chart each: the median and p99 of what a key metric is a statistic of.

    Of a metric that is none, or whose median and p99 were not measured, the metric itself. Latencies come first.
    """
    families: dict[str, list[str]] = {}
    for name in sorted(key_metrics, key=lambda name: kinds[name].better is not Better.SMALLER):
        match = STATISTIC.fullmatch(name)
        family = match[1] if match else name
        statistics = [metric for metric in (f"median_{family}", f"p99_{family}") if metric in measured]
        families.setdefault(family, statistics or [name])
    return families


def trade_offs(
    families: Mapping[str, Sequence[str]],
    charts: Sequence[tuple[str, str]],
    measured: Collection[str],
    kinds: Mapping[str, MetricKind],
) -> list[tuple[str, str]]:
    """The ``charts`` of the results, and each drawn gain with each drawn cost; each pair once, the fronts first."""
    metrics = [metric for metrics in families.values() for metric in metrics]
    gains = [metric for metric in metrics if kinds[metric].better is Better.BIGGER]
    costs = [metric for metric in metrics if kinds[metric].better is Better.SMALLER]
    pairs = [*charts, *((gain, cost) for gain in gains for cost in costs), USER_AND_GPU]
    drawn = list(dict.fromkeys((x, y) for x, y in pairs if x in measured and y in measured))
    return [*(pair for pair in PARETO_FRONTS if pair in drawn), *(pair for pair in drawn if pair not in PARETO_FRONTS)]


def front(points: Sequence[SweepPoint], x: str, y: str, kinds: Mapping[str, MetricKind]) -> list[int]:
    """Positions of the points that no other beats in both metrics, by rising x (Pareto front).

    Empty where a metric has no direction, and so nothing can be beaten.
    """
    if Better.OBSERVATION in (kinds[x].better, kinds[y].better):
        return []
    sign_x, sign_y = (1 if kinds[metric].better is Better.SMALLER else -1 for metric in (x, y))
    costs = [
        (sign_x * median(xs), sign_y * median(ys), i)
        for i, point in enumerate(points)
        if (xs := point.values(x)) and (ys := point.values(y))
    ]
    lowest_y, positions = math.inf, []
    for _, cost_y, i in sorted(costs):
        if cost_y < lowest_y:
            lowest_y = cost_y
            positions.append(i)
    return positions if sign_x > 0 else positions[::-1]
