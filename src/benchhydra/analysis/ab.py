"""Two configurations on one machine, alternating: pairs in random order until the evidence is enough.

A pair is one visit to each side, close in time, so that slow drift (heat, other work on the machine) affects both. Its
difference of logs is one observation; stats/sequential.py says how sure the observations make. The main metrics share
the chance of a false alarm; all other metrics are shown, share one of their own, and decide nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from benchhydra.analysis.ab_plan import plan_lines
from benchhydra.analysis.comparison import (
    FORBID_JUDGEMENT,
    ChangeVerdict,
    Comparison,
    GateOutcome,
    MetricChange,
    PointChange,
)
from benchhydra.analysis.config_diff import config_differences
from benchhydra.analysis.noise_model import NoiseModel
from benchhydra.analysis.paired_runs import SIDES, PairedRuns
from benchhydra.analysis.pairing import usable_runs
from benchhydra.analysis.problems import MetricRoles, point_problems
from benchhydra.analysis.runs import Run, Runs
from benchhydra.analysis.thresholds import MAIN_METRICS, Thresholds
from benchhydra.similar_texts import merge_similar

#: The test ends after so many pairs in a row without a usable run on both sides.
MOST_LOST = 3
#: After so many pairs the plan is made anew, from their noise.
PAIRS_BEFORE_PLAN = 3

#: (side, number of the pair) -> the runs of one visit
Visit = Callable[[str, int], Runs]


@dataclass(frozen=True, kw_only=True)
class AbBudget:
    """When to stop without being sure."""

    max_pairs: int
    wall_s: float


@dataclass(kw_only=True)
class AbTest:
    """One test. ``main_patterns``: patterns of the main metrics (none: those of the thresholds, or ``MAIN_METRICS``).

    It stops when a main metric is worse, or all are decided; with ``decide_all`` only when all are. ``seen`` has every
    run of each side, usable or not; ``stopped`` says why it ended, ``lost`` counts the last pairs without a usable run.
    """

    visit: Visit
    budget: AbBudget
    thresholds: Thresholds
    main_patterns: Sequence[str] = ()
    seed: int = 0
    decide_all: bool = False
    say: Callable[[str], None] = lambda text: None
    clock: Callable[[], float] = time.monotonic
    seen: dict[str, list[Run]] = field(default_factory=lambda: {side: [] for side in SIDES})
    stopped: str = ""
    wall_s: float = 0.0
    lost: int = 0

    def __post_init__(self) -> None:
        self._paired = PairedRuns(thresholds=self.thresholds, main_patterns=self.main_patterns)

    @property
    def pairs(self) -> int:
        """Pairs with usable runs on both sides."""
        return len(self._paired)

    def main(self) -> list[MetricChange]:
        """The main metrics, judged."""
        return self._paired.main_changes()

    def run(self) -> None:
        """Measure until sure, or out of budget. An interruption keeps what was measured, and is raised again."""
        order, start_s, number = random.Random(self.seed), self.clock(), 0
        try:
            while not self.stopped:
                number += 1
                self._measure_pair(number, order.sample(SIDES, 2))
                self.wall_s = self.clock() - start_s
                self.stopped = self._reason_to_stop(self.wall_s / number)
                if self.pairs == PAIRS_BEFORE_PLAN and not self.lost and not self.stopped:
                    self._say_plan(self.wall_s / number)
        except BaseException:
            self.stopped = f"interrupted in pair {number}"
            raise

    def _measure_pair(self, number: int, order: list[str]) -> None:
        visits = {side: self.visit(side, number) for side in order}
        for side, runs in visits.items():
            self.seen[side] += runs.runs
        usable = {side: usable_runs(runs.runs) for side, runs in visits.items()}
        if not all(usable.values()):
            self.lost += 1
            side = next(side for side in SIDES if not usable[side])
            reasons = merge_similar(text for run in visits[side].runs for text in run.reasons)
            because = f": {reasons[0]}" if reasons else ""
            self.say(f"pair {number} ({' '.join(order)}): left out, {side.upper()} has no usable run{because}")
            return
        self.lost = 0
        self._paired.add(usable, visits["a"].kinds | visits["b"].kinds)
        changes = "; ".join(map(_in_short, self.main())) or "no metric to judge"
        self.say(f"pair {number} ({' '.join(order)}): {changes}")

    def _reason_to_stop(self, pair_s: float) -> str:
        """Why to stop now; empty: go on."""
        if self.lost >= MOST_LOST:
            return f"{MOST_LOST} pairs in a row had no usable run on a side"
        if self.pairs >= PAIRS_BEFORE_PLAN:
            for problem in self.comparison().problems:
                if problem.outcome in (*FORBID_JUDGEMENT, GateOutcome.METRIC_MISSING):
                    return problem.text
        changes = [metric.change for metric in self.main()]
        if self.pairs and not changes:
            return "no main metric is measured by both sides"
        if changes and all(change.decided for change in changes):
            return "every main metric is decided"
        if ChangeVerdict.WORSE in changes and not self.decide_all:
            return "a main metric is worse"
        if self.pairs + self.lost >= self.budget.max_pairs:
            return f"--max-pairs {self.budget.max_pairs} is reached"
        if self.wall_s + pair_s > self.budget.wall_s:
            return f"--budget-s {self.budget.wall_s:g} leaves no time for another pair ({pair_s:.0f} s)"
        return ""

    def _say_plan(self, pair_s: float) -> None:
        noise = {metric.metric: metric.noise for metric in self.main() if metric.noise is not None}
        self.say("by the noise of these pairs, to see a change takes about:")
        for line in plan_lines(noise, self.thresholds.alpha, pair_s):
            self.say(f"  {line}")

    def comparison(self) -> Comparison:
        """What is known so far, main metrics first, as any comparison."""
        base, candidate = (self.seen[side] for side in SIDES)
        if not base or not candidate:
            return Comparison(points=(), thresholds=self.thresholds)
        differences = config_differences(base[-1], candidate[-1])
        point = PointChange(
            point_key=candidate[-1].point_key,
            label=candidate[-1].label,
            base=tuple(base),
            candidate=tuple(candidate),
            metrics=(*(replace(metric, is_main=True) for metric in self.main()), *self._paired.other_changes()),
            differences=differences.settings,
            definitions=differences.definitions,
            invalid="candidate" if not usable_runs(candidate) else "base" if not usable_runs(base) else "",
        )
        patterns = self.main_patterns or self.thresholds.main or MAIN_METRICS
        roles = MetricRoles(self._paired.kinds, self.thresholds, patterns=patterns)
        point = replace(point, problems=point_problems(point, roles, NoiseModel([])))
        return Comparison(points=(point,), thresholds=self.thresholds)

    def outcome(self) -> GateOutcome:
        """The exit code: as of a gate, by the main metrics."""
        changes = [metric.change for metric in self.main()]
        comparison = self.comparison()
        if ChangeVerdict.WORSE in changes and all(point.comparable for point in comparison.points):
            return GateOutcome.REGRESSION
        if self.lost >= MOST_LOST or any(self.seen[side] and not usable_runs(self.seen[side]) for side in SIDES):
            return GateOutcome.INVALID
        if comparison.problems:
            return comparison.outcome
        return GateOutcome.FINE if changes else GateOutcome.NOTHING_COMPARABLE


def _in_short(metric: MetricChange) -> str:
    return f"{metric.metric} {_percent(metric.ratio)} {metric.change.words}"


def _percent(ratio: float) -> str:
    return f"{ratio * 100:+.1f} %"
