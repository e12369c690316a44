"""One bisection from its first run to its answer: which of a line of builds is the first bad one.

1. An A/B test of the first (good) against the last build (bad): without a sure change there is nothing to look for.
2. A test of the build in the middle (``build_test``), which halves the line, until two neighbours are left.
3. An A/B test of these two: the size of the change, with its interval, and runs that say why.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchhydra.analysis.ab import MOST_LOST, AbBudget, AbTest
from benchhydra.analysis.bisection import Bisection, BuildVerdict
from benchhydra.analysis.build_test import BuildTest
from benchhydra.analysis.comparison import ChangeVerdict, GateOutcome, MetricChange
from benchhydra.analysis.pairing import usable_runs
from benchhydra.analysis.runs import Runs
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.errors import BenchhydraError, ResultError
from benchhydra.similar_texts import merge_similar

#: A build of which so many first rounds have no usable run is skipped.
MOST_FAILED_ROUNDS = 2
#: Names of the two A/B tests, beside those of the steps.
FIRST_TEST, LAST_TEST = "good-bad", "confirm"

#: (test, number of the build, number of the round) -> the runs of one server start
Visit = Callable[[str, int, int], Runs]


@dataclass(frozen=True, kw_only=True)
class BisectBudget:
    """When to give up: rounds of one test, and the time of the whole bisection."""

    max_rounds: int
    wall_s: float


@dataclass(kw_only=True)
class BisectStep:
    """The test of one build. reason: why it was skipped. lost: rounds in a row without a usable run of good or bad."""

    build: int
    name: str
    error: float
    verdict: BuildVerdict | None = None
    reason: str = ""
    test: BuildTest | None = None
    failed: int = 0
    lost: int = 0

    def skip(self, reason: str) -> None:
        """End the step without a verdict on the build."""
        self.verdict, self.reason = BuildVerdict.SKIPPED, reason


@dataclass(kw_only=True)
class BisectRun:
    """One bisection. names: the builds in their order, the good one first. prepare: makes a build; raises
    BenchhydraError if it cannot be made. error: the chance of a wrong answer, of all steps together.
    """

    names: Sequence[str]
    prepare: Callable[[int], None]
    visit: Visit
    metric: str
    budget: BisectBudget
    thresholds: Thresholds
    error: float = 0.05
    seed: int = 0
    say: Callable[[str], None] = lambda text: None
    clock: Callable[[], float] = time.monotonic
    bisection: Bisection = field(init=False)
    steps: list[BisectStep] = field(init=False, default_factory=list)
    first_test: AbTest | None = field(init=False, default=None)
    last_test: AbTest | None = field(init=False, default=None)
    stopped: str = field(init=False, default="")
    wall_s: float = field(init=False, default=0.0)
    started_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.bisection = Bisection(builds=len(self.names), error=self.error)

    def run(self) -> None:
        """Measure until the answer is known or the budget is spent.

        An interruption keeps what was measured, and is raised again. Raises BenchhydraError if the good or the bad
        build cannot be made or leaves no result.
        """
        self.started_s = self.clock()
        try:
            self._bisect()
        except BenchhydraError as error:
            self.stopped = error.message.splitlines()[0]
            raise
        except BaseException:
            self.stopped = self.stopped or "interrupted"
            raise
        finally:
            self.wall_s = self.clock() - self.started_s

    def change(self) -> MetricChange | None:
        """The metric's change from the last good to the first bad build, or from good to bad; None if not measured."""
        return _change(self.last_test) or _change(self.first_test)

    def changed_from(self) -> int:
        """The build that ``change`` is a change from."""
        return self.bisection.last_good if _change(self.last_test) is not None else 0

    def outcome(self) -> GateOutcome:
        """FINE: one build is the first bad one. INCOMPLETE: it is one of several. Else why there is no answer."""
        if _verdict(self.first_test) is not ChangeVerdict.WORSE:
            outcome = self.first_test.outcome() if self.first_test else GateOutcome.NOTHING_COMPARABLE
            return GateOutcome.NOTHING_COMPARABLE if outcome is GateOutcome.FINE else outcome
        if len(self.bisection.suspects) > 1 or self.stopped:
            return GateOutcome.INCOMPLETE
        is_confirmed = self.last_test is None or _verdict(self.last_test) is ChangeVerdict.WORSE
        return GateOutcome.FINE if is_confirmed else GateOutcome.INCOMPLETE

    def _bisect(self) -> None:
        last = len(self.names) - 1
        self.prepare(0)
        self.prepare(last)
        self.say(f"first: {self.names[0]} (good) against {self.names[last]} (bad)")
        self.first_test = self._ab_test(FIRST_TEST, 0, last)
        self.first_test.run()
        if _verdict(self.first_test) is not ChangeVerdict.WORSE:
            self.stopped = self._no_change()
            return
        while not self.stopped and (build := self.bisection.next_build()) is not None:
            self._run_step(build)
        good, bad = self.bisection.last_good, self.bisection.first_bad
        if not self.stopped and (good, bad) != (0, last):
            self.say(f"last: {self.names[good]} (last good) against {self.names[bad]} (first bad)")
            self.last_test = self._ab_test(LAST_TEST, good, bad)
            self.last_test.run()

    def _no_change(self) -> str:
        if _verdict(self.first_test) is ChangeVerdict.BETTER:
            return "the bad build is better than the good one: exchange --good and --bad"
        return "no sure change between the good and the bad build"

    def _ab_test(self, name: str, good: int, bad: int) -> AbTest:
        builds = {"a": good, "b": bad}
        return AbTest(
            visit=lambda side, number: self.visit(name, builds[side], number),
            budget=AbBudget(max_pairs=self.budget.max_rounds, wall_s=self._time_left_s()),
            thresholds=self.thresholds,
            main_patterns=[self.metric],
            seed=self.seed,
            say=self.say,
            clock=self.clock,
        )

    def _time_left_s(self) -> float:
        return self.budget.wall_s - (self.clock() - self.started_s)

    def _run_step(self, build: int) -> None:
        """Test one build, and record its verdict unless the bisection stops."""
        number, left = len(self.steps) + 1, self.bisection.steps_left
        step = BisectStep(build=build, name=f"step-{number:02d}", error=self.bisection.next_error())
        self.steps.append(step)
        self.say(f"step {number}, at most {left} to go: {self.names[build]}")
        try:
            self.prepare(build)
        except BenchhydraError as error:
            step.skip(error.message.splitlines()[0])
        change = _change(self.first_test)
        assert change is not None
        step.test = BuildTest(error=step.error, bad_is_larger=change.ratio > 0)
        order, round_number = random.Random(f"{self.seed} {build}"), 0
        while step.verdict is None and not self.stopped:
            round_number += 1
            roles = [0, build, len(self.names) - 1]
            self._measure_round(step, round_number, order.sample(roles, 3))
            if step.verdict is None:
                self._check_budget(step, round_number)
        if step.verdict is not None:
            self.bisection.decide(build, step.verdict)
            reason = f": {step.reason}" if step.reason else ""
            self.say(f"{self.names[build]} is {step.verdict}{reason}")

    def _measure_round(self, step: BisectStep, number: int, order: Sequence[int]) -> None:
        """One run of each of three builds, as long as each before has a usable run; then the verdict, if it is sure."""
        assert step.test is not None
        logs: dict[int, float] = {}
        for build in order:
            value, reason = self._log_of(step.name, build, number)
            if value is None:
                self._lose_round(step, number, build, reason)
                return
            logs[build] = value
        step.lost = 0
        step.test.add(logs[0], logs[step.build], logs[len(self.names) - 1])
        to_good, to_bad = (ratio * 100 for ratio in step.test.ratios())
        self.say(f"round {number}: {self.metric} worse than good by {to_good:.1f} %, better than bad by {to_bad:.1f} %")
        step.verdict = step.test.verdict()

    def _log_of(self, test: str, build: int, number: int) -> tuple[float | None, str]:
        """(the mean log of the metric, ""), or (None, why it is unknown)."""
        try:
            runs = self.visit(test, build, number)
        except ResultError as error:
            return None, error.message.splitlines()[0]
        values = [run.metrics.get(self.metric, 0.0) for run in usable_runs(runs.runs)]
        if values and min(values) > 0:
            return float(np.mean(np.log(values))), ""
        reasons = merge_similar(text for run in runs.runs for text in run.reasons)
        return None, reasons[0].splitlines()[0] if reasons else f"it has no usable run with {self.metric}"

    def _lose_round(self, step: BisectStep, number: int, build: int, reason: str) -> None:
        """Count a round that ended without a usable run of a build; skip the build, or stop, if there are too many."""
        self.say(f"round {number}: left out, {self.names[build]} has no usable run: {reason}")
        if build == step.build:
            step.failed += 1
            if step.failed >= MOST_FAILED_ROUNDS:
                step.skip(f"{step.failed} rounds without a usable run: {reason}")
            return
        step.lost += 1
        if step.lost >= MOST_LOST:
            self.stopped = f"{MOST_LOST} rounds in a row had no usable run of {self.names[build]}: {reason}"

    def _check_budget(self, step: BisectStep, round_number: int) -> None:
        if round_number >= self.budget.max_rounds:
            step.skip(f"undecided after --max-rounds {self.budget.max_rounds}")
        elif self._time_left_s() <= 0:
            self.stopped = f"--budget-s {self.budget.wall_s:g} is spent"


def _change(test: AbTest | None) -> MetricChange | None:
    changes = test.main() if test is not None else []
    return changes[0] if changes else None


def _verdict(test: AbTest | None) -> ChangeVerdict | None:
    change = _change(test)
    return change.change if change is not None else None
