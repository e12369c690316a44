"""Bisections: the order of the tests, what a verdict needs, and how often the answer is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from benchhydra.analysis.bisect_run import BisectBudget, BisectRun
from benchhydra.analysis.bisection import Bisection, BuildVerdict
from benchhydra.analysis.build_test import BuildTest
from benchhydra.analysis.comparison import GateOutcome
from benchhydra.analysis.runs import MetricKind, Run, Runs
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.errors import EngineError, ResultError
from benchhydra.render.bisect_report import BisectReport
from benchhydra.result import Better, Verdict

METRIC = "mean_tpot_ms"
NAMES = ["0.30", "0.31", "0.32", "0.33", "0.34", "0.35", "0.36", "0.37", "0.38"]


def test_the_middle_is_tested_first_and_halves_the_line() -> None:
    bisection = Bisection(builds=9)
    tested = []
    while (build := bisection.next_build()) is not None:
        tested.append(build)
        bisection.decide(build, BuildVerdict.BAD if build >= 3 else BuildVerdict.GOOD)
    assert tested == [4, 2, 3]
    assert (bisection.last_good, bisection.first_bad, list(bisection.suspects)) == (2, 3, [3])


def test_the_chances_of_a_wrong_verdict_add_up_to_the_allowed_one() -> None:
    bisection, spent = Bisection(builds=65, error=0.05), 0.0
    while (build := bisection.next_build()) is not None:
        spent += bisection.next_error()
        bisection.decide(build, BuildVerdict.BAD if build >= 40 else BuildVerdict.GOOD)
    assert spent == pytest.approx(0.05)


def test_a_skipped_build_costs_no_chance_and_a_neighbour_is_tested_instead() -> None:
    bisection = Bisection(builds=5, error=0.05)
    error = bisection.next_error()
    bisection.decide(2, BuildVerdict.SKIPPED)
    assert bisection.next_error() == error
    assert bisection.next_build() in (1, 3)


def test_skipped_builds_before_the_first_bad_one_leave_a_range() -> None:
    bisection = Bisection(builds=4)
    bisection.decide(1, BuildVerdict.SKIPPED)
    bisection.decide(2, BuildVerdict.BAD)
    assert (bisection.next_build(), list(bisection.suspects)) == (None, [1, 2])


def rounds_until_decided(level: float, bad_is_larger: bool = True) -> tuple[BuildVerdict | None, int]:
    """The verdict on a build at ``level`` between good (0) and bad (1), of builds 5 % apart with 1 % noise."""
    rng, test, sign = np.random.default_rng(3), BuildTest(error=0.01, bad_is_larger=bad_is_larger), 1
    sign = 1 if bad_is_larger else -1
    while test.verdict() is None and len(test.rounds) < 40:
        good, tested, bad = (float(x) for x in 0.01 * rng.standard_normal(3))
        test.add(good, tested + sign * 0.05 * level, bad + sign * 0.05)
    return test.verdict(), len(test.rounds)


@pytest.mark.parametrize("bad_is_larger", [True, False])
def test_a_build_is_what_it_does_not_differ_from(bad_is_larger: bool) -> None:
    assert rounds_until_decided(0, bad_is_larger)[0] is BuildVerdict.GOOD
    assert rounds_until_decided(1, bad_is_larger)[0] is BuildVerdict.BAD
    assert rounds_until_decided(1, bad_is_larger)[1] >= 3


def test_a_build_in_between_is_called_what_it_is_nearer_to() -> None:
    assert rounds_until_decided(0.8)[0] is BuildVerdict.BAD
    assert rounds_until_decided(0.2)[0] is BuildVerdict.GOOD


def test_at_most_5_percent_of_bisections_are_wrong() -> None:
    """5 % slowdown, 2 % noise, 6 tests each; ``benchmarks/bisect_trials.py`` has 1,000 of them."""
    rng, wrong, trials = np.random.default_rng(11), 0, 40
    for _ in range(trials):
        truth, bisection = int(rng.integers(1, 65)), Bisection(builds=65)
        while (build := bisection.next_build()) is not None:
            test = BuildTest(error=bisection.next_error(), bad_is_larger=True)
            while test.verdict() is None:
                good, tested, bad = (float(x) for x in 0.02 * rng.standard_normal(3))
                test.add(good, tested + math.log(1.05) * (build >= truth), bad + math.log(1.05))
            bisection.decide(build, test.verdict() or BuildVerdict.SKIPPED)
        wrong += bisection.first_bad != truth
    assert wrong <= 2  # the rate is below 1 %: 3 of 40 would be one in a hundred thousand


# The whole of it


def runs_of(value: float | None) -> Runs:
    """The runs of a visit: one with this value, or one that failed."""
    verdict = Verdict.VALID if value else Verdict.INVALID
    status = "ok" if value else "failed"
    metrics = {METRIC: value} if value else {}
    reasons = () if value else ("the server exited with code 1\nlast lines of its log",)
    run = Run(
        run_id=f"{value}",
        point_key="k",
        verdict=verdict,
        status=status,
        epoch_time=0.0,
        metrics=metrics,
        reasons=reasons,
    )
    return Runs([run], {METRIC: MetricKind("ms", Better.SMALLER)})


def bisect_run(
    value_of: Callable[[int], float | None],
    *,
    cannot_be_made: tuple[int, ...] = (),
    max_rounds: int = 40,
    wall_s: float = 1e9,
    names: list[str] = NAMES,
) -> BisectRun:
    """A bisection of builds whose metric is ``value_of`` their number, with 0.5 % noise; each visit takes a second."""
    rng, seconds = np.random.default_rng(5), [0.0]

    def prepare(number: int) -> None:
        if number in cannot_be_made:
            raise EngineError("uv failed with exit code 1")

    def visit(test: str, number: int, round_number: int) -> Runs:
        seconds[0] += 1
        value = value_of(number)
        return runs_of(value * math.exp(0.005 * rng.standard_normal()) if value else None)

    run = BisectRun(
        names=names,
        prepare=prepare,
        visit=visit,
        metric=METRIC,
        budget=BisectBudget(max_rounds=max_rounds, wall_s=wall_s),
        thresholds=Thresholds(),
        clock=lambda: seconds[0],
    )
    with suppress(EngineError):
        run.run()
    return run


def test_an_error_is_no_interruption() -> None:
    run = bisect_run(lambda build: 10.0, cannot_be_made=(0,))
    assert run.stopped == "uv failed with exit code 1"
    assert run.outcome() is GateOutcome.NOTHING_COMPARABLE


def test_the_first_bad_build_is_found_and_its_change_measured() -> None:
    run = bisect_run(lambda build: 10.0 if build < 6 else 10.6)
    assert run.outcome() is GateOutcome.FINE
    assert (run.names[run.bisection.last_good], run.names[run.bisection.first_bad]) == ("0.35", "0.36")
    change = run.change()
    assert change is not None and change.low is not None and change.high is not None
    assert change.low < 0.06 < change.high
    assert run.last_test is not None and run.last_test.pairs >= 4
    assert [step.verdict for step in run.steps].count(BuildVerdict.SKIPPED) == 0


def test_builds_that_cannot_be_made_or_started_are_skipped() -> None:
    run = bisect_run(lambda build: None if build == 3 else 10.0 if build < 6 else 12.0, cannot_be_made=(4,))
    assert run.bisection.first_bad == 6
    reasons = {step.build: step.reason for step in run.steps if step.verdict is BuildVerdict.SKIPPED}
    assert reasons[4] == "uv failed with exit code 1"
    assert reasons.get(3) in (None, "2 rounds without a usable run: the server exited with code 1")


def test_a_skipped_build_beside_the_first_bad_one_leaves_two_suspects() -> None:
    run = bisect_run(lambda build: 10.0 if build < 6 else 12.0, cannot_be_made=(5,))
    assert run.outcome() is GateOutcome.INCOMPLETE
    assert [run.names[build] for build in run.bisection.suspects] == ["0.35", "0.36"]


def test_without_a_sure_change_there_is_nothing_to_look_for() -> None:
    run = bisect_run(lambda build: 10.0)
    assert run.outcome() is GateOutcome.NOTHING_COMPARABLE
    assert run.stopped == "no sure change between the good and the bad build"
    assert run.steps == []


def test_a_bad_build_that_is_better_is_named() -> None:
    run = bisect_run(lambda build: 10.0 if build < 6 else 8.0)
    assert run.stopped == "the bad build is better than the good one: exchange --good and --bad"
    assert run.outcome() is GateOutcome.NOTHING_COMPARABLE


def test_a_test_that_stays_undecided_is_a_skip() -> None:
    run = bisect_run(lambda build: 10.0 if build < 2 else 10.6, max_rounds=3, names=NAMES[:3])
    assert run.outcome() in (GateOutcome.INCOMPLETE, GateOutcome.NOTHING_COMPARABLE)


def test_a_spent_budget_ends_it_with_the_builds_that_are_left() -> None:
    run = bisect_run(lambda build: 10.0 if build < 6 else 11.0, wall_s=20)
    assert run.stopped == "--budget-s 20 is spent"
    assert run.outcome() is GateOutcome.INCOMPLETE
    assert len(run.bisection.suspects) > 1


def report_of(run: BisectRun) -> BisectReport:
    return BisectReport(run=run, typed=run.names, command=(), directory=Path())


def test_a_change_is_named_after_the_build_that_it_was_measured_against() -> None:
    """The budget ends it in the third step, so that only good against bad is known, and not the last good build."""
    run = bisect_run(lambda build: 10.0 if build < 6 else 11.0, wall_s=34)
    assert list(run.bisection.suspects) == [5, 6]
    assert report_of(run).headline().startswith("the first bad build is one of 0.35, 0.36 (against 0.30: ")
    whole = bisect_run(lambda build: 10.0 if build < 6 else 11.0)
    assert report_of(whole).headline().startswith("first bad build: 0.36 (against 0.35: ")


def test_a_chance_of_a_wrong_answer_is_only_stated_of_an_answer() -> None:
    answered, equal = bisect_run(lambda build: 11.0 if build > 5 else 10.0), bisect_run(lambda build: 10.0)
    assert any("wrong in at most 5 %" in line for line in report_of(answered).lines())
    assert not any("wrong in at most" in line for line in report_of(equal).lines())


def test_a_good_build_that_stops_working_ends_it() -> None:
    calls = [0]

    def value_of(build: int) -> float | None:
        calls[0] += 1
        return None if build == 0 and calls[0] > 14 else 10.0 if build < 6 else 12.0

    run = bisect_run(value_of)
    assert run.stopped.startswith("3 rounds in a row had no usable run of 0.30: the server exited with code 1")
    assert run.outcome() is GateOutcome.INCOMPLETE


def test_a_visit_that_leaves_no_result_is_a_lost_round() -> None:
    def value_of(build: int) -> float | None:
        if build == 4:
            raise ResultError("measuring a point again left no result")
        return 10.0 if build < 6 else 12.0

    run = bisect_run(value_of)
    assert run.bisection.verdicts[4] is BuildVerdict.SKIPPED
    assert run.bisection.first_bad == 6
