from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra.analysis.compare import compare
from benchhydra.analysis.comparison import ChangeVerdict, Comparison, GateOutcome
from benchhydra.analysis.gate import Gate
from benchhydra.analysis.history_gate import HistoryGate
from benchhydra.analysis.runs import Run, Runs
from benchhydra.analysis.stats import robust
from benchhydra.analysis.stats.change_points import change_points
from benchhydra.analysis.thresholds import Thresholds

Make = Callable[..., Runs]
LIMITS = Thresholds()


def changes(comparison: Comparison) -> dict[str, ChangeVerdict]:
    return {metric.metric: metric.change for _, metric in comparison.metrics}


def test_a_slowdown_is_worse_and_swapped_sides_are_better(make: Make) -> None:
    base, slow = make("a", 5), make("b", 5, ttft=115, rate=8)
    history = make("h", 20).runs
    worse = changes(compare(base, slow, thresholds=LIMITS, history=history))
    better = changes(compare(slow, base, thresholds=LIMITS, history=history))
    assert worse == {"mean_ttft_ms": ChangeVerdict.WORSE, "request_throughput": ChangeVerdict.WORSE}
    assert better == {"mean_ttft_ms": ChangeVerdict.BETTER, "request_throughput": ChangeVerdict.BETTER}


def test_identical_builds_are_same_with_enough_runs(make: Make) -> None:
    verdicts = changes(compare(make("a", 20), make("b", 20), thresholds=LIMITS))
    assert set(verdicts.values()) == {ChangeVerdict.SAME}


def test_one_run_per_side_is_inconclusive(make: Make) -> None:
    comparison = compare(make("a", 1), make("b", 1, ttft=200), thresholds=LIMITS)
    assert set(changes(comparison).values()) == {ChangeVerdict.INCONCLUSIVE}
    assert all("repeats=5" in metric.note for _, metric in comparison.metrics)


def test_the_order_of_runs_changes_nothing(make: Make) -> None:
    base, slow = make("a", 5), make("b", 5, ttft=103)
    shuffled = random.Random(3).sample(slow.runs, 5)
    first = compare(base, slow, thresholds=LIMITS).metrics[0][1]
    second = compare(base, Runs(shuffled, slow.kinds), thresholds=LIMITS).metrics[0][1]
    assert first.ratio == pytest.approx(second.ratio)
    assert first.p_worse == pytest.approx(second.p_worse)


@given(st.floats(1e-3, 1e6), st.integers(0, 100))
def test_units_do_not_matter(factor: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = np.exp(rng.normal(0, 0.02, 5)), np.exp(rng.normal(0.05, 0.02, 5))
    plain = robust.compare_samples(np.log(a), np.log(b))
    scaled = robust.compare_samples(np.log(a * factor), np.log(b * factor))
    assert float(scaled.t) == pytest.approx(float(plain.t), rel=1e-6)


def gate(base: Runs, candidate: Runs, history: list[Run] | None = None) -> Gate:
    return Gate(base, candidate, LIMITS, history or [])


def test_exit_codes(make: Make) -> None:
    history = make("h", 20).runs
    assert gate(make("a", 5), make("b", 5), history).decide().outcome is GateOutcome.FINE
    assert gate(make("a", 5), make("b", 5, ttft=115), history).decide().outcome is GateOutcome.REGRESSION
    assert gate(make("a", 5), make("b", 5, verdict="INVALID", ttft=1), history).decide().outcome is GateOutcome.INVALID
    assert (
        gate(make("a", 5, verdict="INVALID"), make("b", 5), history).decide().outcome is GateOutcome.NOTHING_COMPARABLE
    )
    neither = gate(make("a", 5, verdict="INVALID"), make("b", 5, verdict="INVALID"))
    assert neither.decide().outcome is GateOutcome.INVALID
    assert gate(make("a", 1), make("b", 1)).decide().outcome is GateOutcome.NOTHING_COMPARABLE


def test_zero_tokens_are_invalid_and_never_better(make: Make) -> None:
    empty = make("b", 5, ttft=1)
    for run in empty.runs:
        run.metrics["output_throughput"] = 0.0
    assert gate(make("a", 5), empty).decide().outcome is GateOutcome.INVALID


def test_machines_are_not_mixed(make: Make) -> None:
    other = make("b", 5, ttft=200)
    for run in other.runs:
        run.machine = "faster"
    decision = gate(make("a", 5), other).decide()
    assert decision.outcome is GateOutcome.NOTHING_COMPARABLE
    assert "machines differ" in decision.notes[0]


@pytest.mark.parametrize(("ttft", "outcome"), [(100.0, GateOutcome.FINE), (115.0, GateOutcome.REGRESSION)])
def test_reruns_decide(make: Make, ttft: float, outcome: GateOutcome) -> None:
    asked: list[int] = []

    def rerun(run: Run, repeats: int) -> list[Run]:
        asked.append(repeats)
        return make(f"r{len(asked)}", repeats, ttft=ttft).runs

    judge = gate(make("a", 5), make("b", 5, ttft=103.2), make("h", 20).runs)
    judge.rerun = rerun
    assert judge.decide().outcome is outcome
    assert asked[0] == 5


def test_against_history(make: Make) -> None:
    history = make("h", 20)
    empty = Runs([], history.kinds)
    slow, fine, invalid = make("b", 5, ttft=115), make("c", 5), make("d", 5, verdict="INVALID")
    outcomes = [HistoryGate(empty, r, LIMITS, history.runs).decide().outcome for r in (slow, fine, invalid)]
    assert outcomes == [GateOutcome.REGRESSION, GateOutcome.FINE, GateOutcome.INVALID]
    assert HistoryGate(empty, fine, LIMITS, []).decide().outcome is GateOutcome.NOTHING_COMPARABLE


def test_a_step_in_history_is_found_and_an_outlier_is_ignored() -> None:
    values = np.exp(np.random.default_rng(1).normal(0, 0.02, 40))
    values[7] *= 3
    assert change_points(values) == []
    values[20:] *= 1.1
    (step,) = change_points(values)
    assert abs(step.at - 20) <= 1
    assert step.ratio == pytest.approx(1.1, abs=0.03)


def test_each_round_of_reruns_doubles_the_candidates_runs(make: Make) -> None:
    asked: list[int] = []

    def rerun(run: Run, repeats: int) -> list[Run]:
        asked.append(repeats)
        return make(f"r{len(asked)}", repeats, ttft=115).runs

    never_sure = Thresholds(false_alarm_percent=1e-30)
    Gate(make("a", 5), make("b", 5, ttft=115), never_sure, rerun=rerun).decide()
    assert asked == [5, 10, 20]
