"""A/B tests whose truth is known: verdicts, order, budgets, and what is printed."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from benchhydra.analysis import ab_plan
from benchhydra.analysis.ab import AbBudget, AbTest
from benchhydra.analysis.comparison import ChangeVerdict, GateOutcome
from benchhydra.analysis.runs import Runs
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.result import Verdict

Make = Callable[..., Runs]
LIMITS = Thresholds()


def ab(make: Make, *, slower: float = 1.0, verdict: str = "VALID", max_pairs: int = 40, **more: object) -> AbTest:
    """A test of two builds with 1 % noise; the second one's TTFT is ``slower`` times as long."""

    def visit(side: str, number: int) -> Runs:
        factor = slower if side == "b" else 1.0
        kind = verdict if side == "b" else "VALID"
        return make(f"{side}{number}-", 1, ttft=100 * factor, seed=number, verdict=kind, key=side)

    settings: dict[str, object] = {
        "budget": AbBudget(max_pairs=max_pairs, wall_s=1e9),
        "thresholds": LIMITS,
        "clock": itertools.count().__next__,
    }
    return AbTest(visit=visit, **(settings | more))  # type: ignore[arg-type]


def changes(test: AbTest) -> dict[str, ChangeVerdict]:
    return {metric.metric: metric.change for metric in test.main()}


def test_a_slower_build_is_found_and_ends_the_test(make: Make) -> None:
    test = ab(make, slower=1.06)
    test.run()
    assert test.outcome() is GateOutcome.REGRESSION
    assert changes(test)["mean_ttft_ms"] is ChangeVerdict.WORSE
    assert test.stopped == "a main metric is worse"
    assert test.pairs < 15
    (worse, _) = test.main()
    assert worse.low is not None
    assert 0 < worse.low < worse.ratio < 0.09


def test_a_faster_build_is_better_and_exits_with_0(make: Make) -> None:
    test = ab(make, slower=0.94)
    test.run()
    assert test.outcome() is GateOutcome.FINE
    assert changes(test) == {"mean_ttft_ms": ChangeVerdict.BETTER, "request_throughput": ChangeVerdict.SAME}
    assert test.stopped == "every main metric is decided"


def test_identical_builds_are_the_same(make: Make) -> None:
    test = ab(make)
    test.run()
    assert set(changes(test).values()) == {ChangeVerdict.SAME}


def test_with_decide_all_the_other_metrics_are_decided_too(make: Make) -> None:
    test = ab(make, slower=1.1, decide_all=True)
    test.run()
    assert changes(test) == {"mean_ttft_ms": ChangeVerdict.WORSE, "request_throughput": ChangeVerdict.SAME}


def test_the_order_within_pairs_is_random_and_repeatable(make: Make) -> None:
    def order(seed: int) -> list[str]:
        lines: list[str] = []
        ab(make, max_pairs=10, seed=seed, say=lines.append, main_patterns=["mean_ttft_ms"], slower=1.001).run()
        return [line.partition("(")[2][:3] for line in lines if line.startswith("pair")]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert set(order(1)) == {"a b", "b a"}


def test_a_spent_budget_ends_the_test(make: Make) -> None:
    test = ab(make, max_pairs=3)
    test.run()
    assert (test.pairs, test.stopped) == (3, "--max-pairs 3 is reached")
    assert all(metric.note == "needs more than 3 pairs" for metric in test.main())
    times = iter([0.0, 40.0, 80.0, 120.0])
    test = ab(make, budget=AbBudget(max_pairs=40, wall_s=100), clock=lambda: next(times))
    test.run()
    assert test.pairs == 2
    assert test.stopped == "--budget-s 100 leaves no time for another pair (40 s)"


def test_invalid_runs_take_no_part(make: Make) -> None:
    test = ab(make, verdict="INVALID", slower=0.5)
    test.run()
    assert test.outcome() is GateOutcome.INVALID
    assert test.pairs == 0
    assert test.comparison().points[0].invalid == "candidate"


def test_a_failed_pair_does_not_end_the_test(make: Make) -> None:
    test = ab(make, slower=1.1)
    plain = test.visit

    def visit(side: str, number: int) -> Runs:
        runs = plain(side, number)
        if (side, number) == ("a", 2):
            runs.runs[0].verdict = Verdict.INVALID
        return runs

    test.visit = visit
    test.run()
    assert test.outcome() is GateOutcome.REGRESSION
    assert [len(test.seen[side]) - test.pairs for side in "ab"] == [1, 1]


def test_main_metrics_without_values_are_nothing_comparable(make: Make) -> None:
    test = ab(make, main_patterns=["no_such_*"])
    test.run()
    assert test.outcome() is GateOutcome.NOTHING_COMPARABLE
    assert test.pairs == 1


def test_an_interruption_keeps_what_was_measured(make: Make) -> None:
    test = ab(make, slower=1.1)
    plain = test.visit

    def visit(side: str, number: int) -> Runs:
        if number == 3:
            raise KeyboardInterrupt
        return plain(side, number)

    test.visit = visit
    with pytest.raises(KeyboardInterrupt):
        test.run()
    assert (test.pairs, test.stopped) == (2, "interrupted in pair 3")


def test_pairs_are_planned_from_history_then_from_the_first_pairs(make: Make) -> None:
    plan = ab_plan.PowerPlan(make("h", 20), "m", ["k", "other"])
    noise = plan.noise(LIMITS, ())
    assert noise.keys() == {"mean_ttft_ms", "request_throughput"}
    assert noise["mean_ttft_ms"] == pytest.approx(0.01, rel=0.4)
    (ttft, _) = ab_plan.plan_lines({"mean_ttft_ms": 0.02, "request_throughput": 0.01}, 0.01, 30.0)
    assert ttft == "mean_ttft_ms (noise 2.0 % a run): 3 % 29 pairs (14 min), 5 % 14 pairs (7 min), 10 % 8 pairs (4 min)"
    assert ab_plan.PowerPlan(Runs([], {}), "m", ["k", "k"]).pair_s() is None
    lines: list[str] = []
    ab(make, slower=1.001, max_pairs=4, say=lines.append).run()
    assert "by the noise of these pairs, to see a change takes about:" in lines
