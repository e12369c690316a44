"""The pairs of an A/B test, and what they say about each metric so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchhydra.analysis.comparison import Basis, ChangeVerdict, MetricChange
from benchhydra.analysis.judgement import PROBABLE_FACTOR, SAME_ALPHA
from benchhydra.analysis.runs import MetricKind, Run
from benchhydra.analysis.stats import Floats
from benchhydra.analysis.stats.sequential import PAIR_SCALE, ConfidenceInterval, confidence_interval
from benchhydra.analysis.thresholds import Thresholds

SIDES = ("a", "b")
#: The usable runs of one visit to a side.
Observation = Sequence[Run]


@dataclass(kw_only=True)
class PairedRuns:
    """Pairs of visits, each with usable runs on both sides.

    main_patterns: of the main metrics (none: those of the thresholds). visits: by side, in the order of the pairs.
    """

    thresholds: Thresholds
    main_patterns: Sequence[str] = ()
    kinds: dict[str, MetricKind] = field(default_factory=dict)
    visits: dict[str, list[Observation]] = field(default_factory=lambda: {side: [] for side in SIDES})

    def __len__(self) -> int:
        return len(self.visits["b"])

    def add(self, visits: Mapping[str, Observation], kinds: Mapping[str, MetricKind]) -> None:
        """Add a pair: the usable runs of each side, and the kinds of their metrics."""
        self.kinds |= kinds
        for side, runs in visits.items():
            self.visits[side].append(runs)

    def main_changes(self) -> list[MetricChange]:
        """The main metrics that both sides measured in every pair, judged; they share alpha."""
        return self._changes([key for key in self._keys() if self.thresholds.is_main(key, self.main_patterns)])

    def other_changes(self) -> list[MetricChange]:
        """The other metrics that have a direction, judged; they share an alpha of their own."""
        return self._changes([key for key in self._keys() if not self.thresholds.is_main(key, self.main_patterns)])

    def _changes(self, keys: Sequence[str]) -> list[MetricChange]:
        return [self._change(key, self.thresholds.alpha / len(keys)) for key in keys]

    def _keys(self) -> list[str]:
        """The metrics that are judged and have a logarithm in every run."""
        runs = [run for side in SIDES for visited in self.visits[side] for run in visited]
        return [
            key
            for key in (runs[0].metrics if runs else ())
            if self.thresholds.judges(key, self.kinds[key].better)
            and all(run.metrics.get(key, 0.0) > 0 for run in runs)
        ]

    def _change(self, key: str, alpha: float) -> MetricChange:
        logs = {side: _observations(self.visits[side], key) for side in SIDES}
        differences = logs["b"] - logs["a"]
        interval = confidence_interval(differences, alpha)
        smallest_effect = self.thresholds.smallest_effect(key)
        change = MetricChange(
            metric=key,
            unit=self.kinds[key].unit,
            better=self.thresholds.direction(key, self.kinds[key].better),
            base=math.exp(float(np.mean(logs["a"]))),
            candidate=math.exp(float(np.mean(logs["b"]))),
            base_runs=len(self),
            candidate_runs=len(self),
            ratio=math.expm1(interval.middle),
            low=None if math.isinf(interval.low) else math.expm1(interval.low),
            high=None if math.isinf(interval.high) else math.expm1(interval.high),
            level=1 - alpha,
            noise=float(np.std(differences, ddof=1)) / PAIR_SCALE if len(self) > 1 else None,
            smallest=math.expm1(smallest_effect),
            basis=Basis.REPEATS,
            note=f"needs more than {len(self)} pairs" if math.isinf(interval.high) else "",
        )
        probable = confidence_interval(differences, min(PROBABLE_FACTOR * alpha, SAME_ALPHA))
        return _judged(change, interval, probable, smallest_effect)


def _observations(visits: Sequence[Observation], key: str) -> Floats:
    """A visit is one observation: the mean of the logs of its runs. Shape (visits,)."""
    return np.array([float(np.mean([math.log(run.metrics[key]) for run in runs])) for runs in visits])


def _judged(
    change: MetricChange, interval: ConfidenceInterval, probable: ConfidenceInterval, smallest_effect: float
) -> MetricChange:
    """WORSE or BETTER: the interval excludes 0, and its middle is beyond what matters; probably so: the narrower one
    does. SAME: all of the interval is within.
    """
    beyond, is_loss = abs(interval.middle) > smallest_effect, change.loss > 0
    if beyond and _excludes_zero(interval):
        return replace(change, change=ChangeVerdict.WORSE if is_loss else ChangeVerdict.BETTER)
    if max(abs(interval.low), abs(interval.high)) < smallest_effect:
        return replace(change, change=ChangeVerdict.SAME)
    if beyond and _excludes_zero(probable):
        return replace(change, change=ChangeVerdict.PROBABLY_WORSE if is_loss else ChangeVerdict.PROBABLY_BETTER)
    return change


def _excludes_zero(interval: ConfidenceInterval) -> bool:
    return interval.low > 0 or interval.high < 0
