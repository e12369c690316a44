"""Repeat each point until the 95 % interval of a metric's mean is narrow enough."""

from __future__ import annotations

from collections.abc import Sequence

from benchhydra import metrics
from benchhydra.errors import ConfigError
from benchhydra.points import Outcome, PlannedPoint
from benchhydra.registry import knob, option
from benchhydra.search import Answer, Overrides, Search
from benchhydra.search.intervals import mean_interval, narrow_enough


@option("search", "repeats")
class Repeats(Search):
    """Repeat each point until the 95 % confidence interval of a metric's mean is narrow enough."""

    ci: str | None = knob(
        None, "metric, and the half-width of its interval relative to its mean: p99_ttft_ms:2%; mandatory"
    )
    max_repeats: int = knob(10, "most repeats of a point", unit="repeats")

    varies = ("repeat",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.max_repeats, int):
            if self.max_repeats < 1:
                raise ConfigError(f"search.max_repeats={self.max_repeats} must be at least 1")
            self.max_points = max(self.max_points, self.max_repeats)
        self._goal()

    def metrics_read(self) -> dict[str, str | None]:
        return {"search.ci": self._goal()[0]}

    def next(self, points: Sequence[PlannedPoint], outcomes: Sequence[Outcome]) -> Sequence[Overrides]:
        metric, fraction = self._goal()
        values = _values(outcomes, metric)
        if not values or len(outcomes) >= self.max_repeats or narrow_enough(values, fraction):
            return ()
        return [(f"repeat={len(outcomes)}",)]

    def answer(self, outcomes: Sequence[Outcome]) -> Answer | None:
        metric, fraction = self._goal()
        values = _values(outcomes, metric)
        interval = mean_interval(values)
        if interval is None:
            return None
        mean, half_width = interval
        limit = f"search.ci={self.ci}" if narrow_enough(values, fraction) else f"search.max_repeats={self.max_repeats}"
        return Answer(
            value=mean,
            low=mean - half_width,
            high=mean + half_width,
            confidence=0.95,
            unit=declared.unit if (declared := metrics.declared(metric)) else "",
            name=f"mean of {metric}",
            limited_by=limit,
            probes=len(values),
        )

    def _goal(self) -> tuple[str, float]:
        """(metric, half-width of the interval as a fraction of the mean), parsed from ``ci``. Raises ConfigError."""
        if self.ci is None:
            raise ConfigError("search=repeats needs search.ci", hint="search=repeats search.ci=p99_ttft_ms:2%")
        metric, separator, percent = self.ci.partition(":")
        try:
            fraction = float(percent.removesuffix("%")) / 100
        except ValueError:
            fraction = -1.0
        if not separator or not percent.endswith("%") or not 0 < fraction < 1:
            raise ConfigError(f"search.ci={self.ci} is not METRIC:PERCENT", hint="search.ci=p99_ttft_ms:2%")
        if metrics.declared(metric) is None:
            raise ConfigError(f"search.ci: no such metric: {metric}", hint=metrics.not_computed_hint(metric))
        return metric, fraction


def _values(outcomes: Sequence[Outcome], metric: str) -> list[float]:
    """The metric's value in each ok outcome. Raises ConfigError if there are ok outcomes and none has it."""
    measured = [outcome.metrics for outcome in outcomes if outcome.status == "ok"]
    values = [metrics[metric] for metrics in measured if metric in metrics]
    if measured and not values:
        raise ConfigError(
            f"search.ci: no point has the metric {metric}", hint=f"the first point has {', '.join(measured[0])}"
        )
    return values
