"""Verdicts on the changes of a comparison, each with the interval that it was decided on.

The main metrics of all points are one family that shares the chance of a false alarm (Bonferroni): so the interval of
each excludes 0 exactly where the change is sure. The other metrics are a family of their own, and informative. A
verdict also needs a change above the metric's smallest effect.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from benchhydra.analysis.comparison import ChangeVerdict, Comparison, MetricChange, PointChange, family
from benchhydra.analysis.stats import power, student_t

#: SAME needs this much certainty that the change is smaller than the smallest that matters (two one-sided tests).
SAME_ALPHA = 0.05
#: "Probably" allows so many times the false alarms that "worse" does.
PROBABLE_FACTOR = 5
NOT_JUDGED = "not judged: the sides are not comparable"
#: The largest log ratio at which an interval ends: few runs exclude nothing at a strict level.
LARGEST_LOG = 700.0


def judged(comparison: Comparison) -> Comparison:
    """The comparison with every metric of its comparable points judged."""
    alpha = comparison.thresholds.alpha
    others = len(family(metric for _, metric in comparison.judged_metrics if not metric.is_main))
    alphas = {True: alpha / max(1, comparison.tests), False: alpha / max(1, others)}

    def verdict(point: PointChange, metric: MetricChange) -> MetricChange:
        if not point.comparable:
            return replace(metric, change=ChangeVerdict.INCONCLUSIVE, detectable=None, note=NOT_JUDGED)
        return judged_metric(metric, alphas[metric.is_main])

    points = (replace(p, metrics=tuple(verdict(p, m) for m in p.metrics)) for p in comparison.points)
    return replace(comparison, points=tuple(points))


def judged_metric(metric: MetricChange, alpha: float) -> MetricChange:
    """The metric with its verdict, where a false alarm has the chance ``alpha`` in each direction."""
    evidence = _evidence(metric)
    if evidence is None:
        return metric
    detectable = power.detectable_change(evidence.error, evidence.freedom, alpha)
    metric = replace(metric, detectable=max(metric.smallest, detectable), repeats_needed=None)
    change = _change(metric, evidence, alpha)
    if change is ChangeVerdict.SAME:
        return with_interval(metric, change, SAME_ALPHA)
    if change in (ChangeVerdict.PROBABLY_WORSE, ChangeVerdict.PROBABLY_BETTER):
        return probably(metric, change, alpha)
    return with_interval(metric, change, alpha)


def with_interval(metric: MetricChange, change: ChangeVerdict, alpha: float) -> MetricChange:
    """The metric with a verdict, and the interval beyond each end of which the ratio lies with the chance ``alpha``."""
    evidence = _evidence(metric)
    if evidence is None:
        return replace(metric, change=change)
    reach = evidence.reach(alpha)
    low, high = (math.expm1(min(evidence.log_ratio + each, LARGEST_LOG)) for each in (-reach, reach))
    return replace(metric, change=change, low=low, high=high, level=1 - 2 * alpha)


def probably(metric: MetricChange, change: ChangeVerdict, alpha: float) -> MetricChange:
    """The metric with a verdict that is not sure, and the repeats that would make this change sure at ``alpha``."""
    repeats = power.repeats_needed(metric.noise or 0.0, abs(math.log1p(metric.ratio)), alpha)
    return replace(with_interval(metric, change, alpha), repeats_needed=repeats)


class _Evidence(NamedTuple):
    """A log ratio with its standard error."""

    log_ratio: float
    error: float
    freedom: float

    def reach(self, alpha: float) -> float:
        """How far the true log ratio may be on either side, with the chance ``alpha`` of being further."""
        return self.error * student_t.quantile(1 - alpha, self.freedom)


def _evidence(metric: MetricChange) -> _Evidence | None:
    if metric.error is None or metric.freedom is None:
        return None
    return _Evidence(math.log1p(metric.ratio), metric.error, metric.freedom)


def _change(metric: MetricChange, evidence: _Evidence, alpha: float) -> ChangeVerdict:
    if is_surely_worse(metric, alpha):
        return ChangeVerdict.WORSE
    if _is_surely_better(metric, alpha):
        return ChangeVerdict.BETTER
    if abs(evidence.log_ratio) + evidence.reach(SAME_ALPHA) < math.log1p(metric.smallest):
        return ChangeVerdict.SAME
    probable = min(PROBABLE_FACTOR * alpha, SAME_ALPHA)
    if is_surely_worse(metric, probable):
        return ChangeVerdict.PROBABLY_WORSE
    return ChangeVerdict.PROBABLY_BETTER if _is_surely_better(metric, probable) else ChangeVerdict.INCONCLUSIVE


def is_surely_worse(metric: MetricChange, alpha: float) -> bool:
    """Whether the metric is worse by more than its smallest effect, with a p below ``alpha``."""
    return metric.p_worse is not None and metric.p_worse < alpha and metric.loss > math.log1p(metric.smallest)


def _is_surely_better(metric: MetricChange, alpha: float) -> bool:
    return metric.p_better is not None and metric.p_better < alpha and -metric.loss > math.log1p(metric.smallest)
