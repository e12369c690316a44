"""Two configurations on one machine, in turns: pairs in random order until the evidence is enough or the budget spent.

A pair is one visit to each side, close in time, so that what drifts slowly (heat, a neighbour) hits both. Its
difference of logs is one observation; how sure the observations make is analysis/sequential.py. The main metrics share
the chance of a false alarm; all other metrics are shown, share one of their own, and decide nothing.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchhydra.analysis.compare import Basis, ChangeVerdict, Comparison, MetricChange, PointChange, usable
from benchhydra.analysis.config_diff import config_differences
from benchhydra.analysis.gate import GateOutcome
from benchhydra.analysis.runs import MetricKind, Run, Runs
from benchhydra.analysis.stats import power
from benchhydra.analysis.stats.robust import Floats
from benchhydra.analysis.stats.sequential import PAIR, ConfidenceInterval, confidence_interval
from benchhydra.analysis.thresholds import Thresholds

SIDES = ("a", "b")
#: So many pairs in a row without a usable run on both sides, and the test ends.
MOST_LOST = 3
#: After so many pairs the plan is made anew, by what they say.
PLANNED_AFTER = 3

#: (side, number of the pair) -> the runs of one visit
Visit = Callable[[str, int], Runs]


@dataclass(frozen=True, kw_only=True)
class AbBudget:
    """When to stop without being sure."""

    max_pairs: int
    wall_s: float


@dataclass(kw_only=True)
class AbTest:
    """One test. ``wanted``: patterns of the main metrics (none: those of the thresholds).

    It is sure when a main metric is worse, or all are decided; with ``decide_all`` only when all are.
    """

    visit: Visit
    budget: AbBudget
    thresholds: Thresholds
    wanted: Sequence[str] = ()
    seed: int = 0
    decide_all: bool = False
    say: Callable[[str], None] = lambda text: None
    clock: Callable[[], float] = time.monotonic
    sides: dict[str, list[list[Run]]] = field(default_factory=lambda: {side: [] for side in SIDES})
    kinds: dict[str, MetricKind] = field(default_factory=dict)
    seen: dict[str, list[Run]] = field(default_factory=lambda: {side: [] for side in SIDES})
    stopped: str = ""
    wall_s: float = 0.0
    lost: int = 0

    @property
    def pairs(self) -> int:
        """Pairs with usable runs on both sides."""
        return len(self.sides["b"])

    def run(self) -> None:
        """Measure until sure, or out of budget. An interruption keeps what was measured, and is raised again."""
        order, began, number = random.Random(self.seed), self.clock(), 0
        try:
            while not self.stopped:
                number += 1
                self._pair(number, order.sample(SIDES, 2))
                self.wall_s = self.clock() - began
                self.stopped = self._reason(self.wall_s / number)
                if self.pairs == PLANNED_AFTER and not self.lost and not self.stopped:
                    self._say_plan(self.wall_s / number)
        except BaseException:
            self.stopped = f"interrupted in pair {number}"
            raise

    def _say_plan(self, pair_s: float) -> None:
        noise = {metric.metric: metric.noise for metric in self.main() if metric.noise is not None}
        self.say("by the noise of these pairs, to see a change takes about:")
        for line in power.plan_lines(noise, self.thresholds.alpha, pair_s):
            self.say(f"  {line}")

    def _pair(self, number: int, order: list[str]) -> None:
        visits = {side: self.visit(side, number) for side in order}
        for side, found in visits.items():
            self.kinds |= found.kinds
            self.seen[side] += found.runs
        used = {side: usable(found.runs) for side, found in visits.items()}
        if not all(used.values()):
            self.lost += 1
            self.say(f"pair {number} ({' '.join(order)}): left out, a side has no usable run")
            return
        self.lost = 0
        for side, runs in used.items():
            self.sides[side].append(runs)
        self.say(f"pair {number} ({' '.join(order)}): {'; '.join(map(_short, self.main())) or 'no metric to judge'}")

    def _reason(self, pair_s: float) -> str:
        """Why to stop now; empty: go on."""
        if self.lost >= MOST_LOST:
            return f"{MOST_LOST} pairs in a row had no usable run on a side"
        main = self.main()
        if self.pairs and not main:
            return "no main metric is measured by both sides"
        if main and all(metric.change is not ChangeVerdict.UNCLEAR for metric in main):
            return "every main metric is decided"
        if not self.decide_all and any(metric.change is ChangeVerdict.WORSE for metric in main):
            return "a main metric is worse"
        if self.pairs + self.lost >= self.budget.max_pairs:
            return f"--max-pairs {self.budget.max_pairs} is reached"
        if self.wall_s + pair_s > self.budget.wall_s:
            return f"--budget-s {self.budget.wall_s:g} leaves no time for another pair ({pair_s:.0f} s)"
        return ""

    def main_keys(self) -> list[str]:
        """The main metrics that both sides measured in every pair."""
        return [key for key in self._keys() if power.is_main(key, self.thresholds, self.wanted)]

    def main(self) -> list[MetricChange]:
        """The main metrics, judged."""
        keys = self.main_keys()
        return [self._judged(key, self.thresholds.alpha / len(keys)) for key in keys]

    def others(self) -> list[MetricChange]:
        """The other metrics that have a direction, judged."""
        keys = [key for key in self._keys() if not power.is_main(key, self.thresholds, self.wanted)]
        return [self._judged(key, self.thresholds.alpha / len(keys)) for key in keys]

    def _keys(self) -> list[str]:
        visits = [runs for side in SIDES for runs in self.sides[side]]
        keys = visits[0][0].metrics if visits else ()
        return [
            key
            for key in keys
            if self.thresholds.judges(key, self.kinds[key].better)
            and all(run.metrics.get(key, 0.0) > 0 for runs in visits for run in runs)
        ]

    def _judged(self, key: str, alpha: float) -> MetricChange:
        logs = {side: _logs(self.sides[side], key) for side in SIDES}
        pairs = logs["b"] - logs["a"]
        found = confidence_interval(pairs, alpha)
        better, smallest = self.thresholds.direction(key, self.kinds[key].better), self.thresholds.smallest(key)
        change = MetricChange(
            metric=key,
            unit=self.kinds[key].unit,
            better=better,
            base=math.exp(float(np.mean(logs["a"]))),
            candidate=math.exp(float(np.mean(logs["b"]))),
            base_runs=len(pairs),
            candidate_runs=len(pairs),
            ratio=math.expm1(found.middle),
            low=None if math.isinf(found.low) else math.expm1(found.low),
            high=None if math.isinf(found.high) else math.expm1(found.high),
            noise=float(np.std(pairs, ddof=1)) / PAIR if len(pairs) > 1 else None,
            smallest=math.expm1(smallest),
            basis=Basis.REPEATS,
            note=f"needs more than {len(pairs)} pairs" if math.isinf(found.high) else "",
        )
        return _with_verdict(change, found, smallest)

    def comparison(self) -> Comparison:
        """What is known so far, main metrics first, as any comparison."""
        a, b = self.seen["a"], self.seen["b"]
        if not a or not b:
            return Comparison(points=(), thresholds=self.thresholds)
        invalid = "candidate" if not usable(b) else "base" if not usable(a) else ""
        found = PointChange(
            point_key=b[-1].point_key,
            label=b[-1].label,
            base=tuple(a),
            candidate=tuple(b),
            metrics=(*self.main(), *self.others()),
            differences=config_differences(a[-1], b[-1]),
            invalid=invalid,
        )
        return Comparison(points=(found,), thresholds=self.thresholds)

    def outcome(self) -> GateOutcome:
        """The exit code: as of a gate, by the main metrics."""
        if any(metric.change is ChangeVerdict.WORSE for metric in self.main()):
            return GateOutcome.REGRESSION
        if self.lost >= MOST_LOST or any(self.seen[side] and not usable(self.seen[side]) for side in SIDES):
            return GateOutcome.INVALID
        return GateOutcome.FINE if self.main() else GateOutcome.NOTHING_COMPARABLE


def _with_verdict(metric: MetricChange, found: ConfidenceInterval, smallest: float) -> MetricChange:
    """Worse or better: all of the interval on one side of 0, its middle beyond what matters. Same: all of it inside."""
    if (found.low > 0 or found.high < 0) and abs(found.middle) > smallest:
        return replace(metric, change=ChangeVerdict.WORSE if metric.loss > 0 else ChangeVerdict.BETTER)
    inside = max(abs(found.low), abs(found.high)) < smallest
    return replace(metric, change=ChangeVerdict.SAME) if inside else metric


def _logs(visits: Sequence[Sequence[Run]], key: str) -> Floats:
    """A visit is one observation: the mean of the logs of its runs."""
    return np.array([float(np.mean([math.log(run.metrics[key]) for run in runs])) for runs in visits])


def _short(metric: MetricChange) -> str:
    between = (
        "" if metric.low is None or metric.high is None else f" ({_percent(metric.low)} to {_percent(metric.high)})"
    )
    return f"{metric.metric} {_percent(metric.ratio)}{between} {metric.change}"


def _percent(ratio: float) -> str:
    return f"{ratio * 100:+.1f} %"
