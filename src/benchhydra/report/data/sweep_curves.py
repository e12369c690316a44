"""The charts of a sweep: metrics against its load, and metrics against each other with their Pareto front.

Which metrics those are is what the results say of themselves (``key_metrics``, ``charts``): no script is known here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchhydra.analysis.runs import MetricKind, Run, ScriptHighlights
from benchhydra.report.data.benchmarks import rounded
from benchhydra.report.data.details import distinguishing_keys, file_slug
from benchhydra.result import Better, Verdict

#: Config keys of loads, with their units: the first that varies is the axis; else any number that varies.
LOAD_KEYS = {"qps": "requests/s", "load.max_in_flight": "requests in flight", "num_prompts": "prompts"}
#: ``p99_ttft_ms`` is a statistic of ``ttft_ms``.
STATISTIC = re.compile(r"(?:mean|median|std|max|p\d+)_(.+)")


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """The repeats of a point on one kind of machine, and where it stands among the others of its sweep.

    name: what distinguishes it; line: what does, beside the axis; x: its place on the axis, None where it has none.
    """

    runs: tuple[Run, ...]
    name: str
    line: str
    x: float | None

    def values(self, metric: str) -> list[float]:
        """A metric of the usable repeats."""
        return [run.metrics[metric] for run in self.runs if run.usable and metric in run.metrics]

    def data(self, metrics: Sequence[str]) -> dict[str, Any]:
        """The point as the page shows it: of each metric the median, the smallest and the largest value."""
        usable = [run for run in self.runs if run.usable]
        values = {metric: self.values(metric) for metric in metrics}
        return {
            "name": self.name,
            "line": self.line,
            "x": self.x,
            "script": self.runs[0].script,
            "runs": [file_slug(run.run_id) for run in self.runs],
            "invalid": len(self.runs) - len(usable),
            "suspect": sum(run.verdict is Verdict.SUSPECT for run in usable),
            "values": {
                metric: [rounded(median(of_runs)), rounded(min(of_runs)), rounded(max(of_runs))]
                for metric, of_runs in values.items()
                if of_runs
            },
        }


def curves_data(
    points: Sequence[SweepPoint], highlights: ScriptHighlights, kinds: Mapping[str, MetricKind]
) -> dict[str, Any]:
    """The points with the metrics that are drawn, the curves against the axis, and the trade-offs."""
    measured = {metric for point in points for run in point.runs if run.usable for metric in run.metrics}
    families = curve_families([name for name in highlights.key_metrics if name in measured], measured, kinds)
    pairs = [(x, y) for x, y in highlights.charts if x in measured and y in measured]
    pairs += [pair for pair in trade_offs(families, kinds) if pair not in pairs]
    drawn = dict.fromkeys(
        [*(name for names in families.values() for name in names), *(xy for pair in pairs for xy in pair)]
    )
    return {
        "points": [point.data(list(drawn)) for point in points],
        "curves": [{"name": name, "metrics": metrics} for name, metrics in families.items()],
        "trade_offs": [{"x": x, "y": y, "front": front(points, x, y, kinds)} for x, y in pairs],
    }


def load_axis(configs: Sequence[Mapping[str, Any]]) -> str:
    """The config key that metrics are drawn against; empty where no number varies."""
    for key in dict.fromkeys((*LOAD_KEYS, *distinguishing_keys(configs))):
        if len({number for config in configs if (number := number_of(config.get(key))) is not None}) > 1:
            return key
    return ""


def number_of(value: object) -> float | None:
    """A finite number, or None: ``qps=inf`` has no place on an axis."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


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


def trade_offs(families: Mapping[str, Sequence[str]], kinds: Mapping[str, MetricKind]) -> list[tuple[str, str]]:
    """Each drawn metric of which more is better, with each of which less is."""
    metrics = [metric for metrics in families.values() for metric in metrics]
    gains = [metric for metric in metrics if kinds[metric].better is Better.BIGGER]
    costs = [metric for metric in metrics if kinds[metric].better is Better.SMALLER]
    return [(gain, cost) for gain in gains for cost in costs]


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
