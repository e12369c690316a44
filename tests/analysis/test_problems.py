"""What was measured on both sides: each problem has an outcome of its own, and is never "no regression"."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from benchhydra.analysis.comparison import GRAVEST_FIRST, ChangeVerdict, GateOutcome
from benchhydra.analysis.gate import Decision, Gate
from benchhydra.analysis.history_gate import HistoryGate
from benchhydra.analysis.problems import MACHINE_CHECKS
from benchhydra.analysis.runs import MetricKind, Run, Runs, ScriptHighlights
from benchhydra.analysis.stats import fisher
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.exit_codes import EXIT_CODES
from benchhydra.result import Better, Verdict
from benchhydra.validity import rules

Make = Callable[..., Runs]
Change = Callable[[list[Run]], object]


def decide(base: Runs, candidate: Runs, *accept: GateOutcome) -> Decision:
    return Gate(base, candidate, Thresholds(), accept=accept).decide()


def set_metric(key: str, value: float, runs: int = 5) -> Change:
    def change(candidate: list[Run]) -> None:
        for run in candidate[:runs]:
            run.metrics[key] = value

    return change


def remove_metric(key: str, runs: int = 5) -> Change:
    return lambda candidate: [run.metrics.pop(key) for run in candidate[:runs]]


def set_verdict(verdict: Verdict, check: str, runs: int) -> Change:
    def change(candidate: list[Run]) -> None:
        for run in candidate[:runs]:
            run.verdict, run.checks, run.reasons = verdict, (check,), (f"because of {check}",)
            run.invalid_checks = (check,) if verdict is Verdict.INVALID else ()

    return change


def set_field(name: str, value: object, runs: int = 5) -> Change:
    def change(candidate: list[Run]) -> None:
        for run in candidate[:runs]:
            setattr(run, name, value)

    return change


CASES: dict[str, tuple[Change, GateOutcome, str]] = {
    "no TTFT": (remove_metric("mean_ttft_ms"), GateOutcome.METRIC_MISSING, "mean_ttft_ms (in 0 of 5 runs)"),
    "TTFT in 4 of 5": (remove_metric("mean_ttft_ms", 1), GateOutcome.METRIC_MISSING, "(in 4 of 5 runs)"),
    "half the tokens": (set_metric("mean_output_tokens", 8.0), GateOutcome.DIFFERENT_WORK, "16 in the base, 8 in"),
    "longer prompts": (set_metric("mean_input_tokens", 80.0), GateOutcome.DIFFERENT_WORK, "64 in the base, 80 in"),
    "no token": (set_metric("mean_output_tokens", 0.0), GateOutcome.DIFFERENT_WORK, "mean_output_tokens"),
    "another model": (set_field("model", "llama"), GateOutcome.DIFFERENT_WORK, "models differ: llama, tiny"),
    "TTFT zero": (set_metric("mean_ttft_ms", 0.0), GateOutcome.IMPOSSIBLE, "mean_ttft_ms is 0 in 5 of 5 runs"),
    "TTFT negative": (set_metric("mean_ttft_ms", -3.0, 1), GateOutcome.IMPOSSIBLE, "mean_ttft_ms is -3 in 1 of 5"),
    "TTFT NaN": (set_metric("mean_ttft_ms", math.nan), GateOutcome.IMPOSSIBLE, "mean_ttft_ms is nan"),
    "infinite rate": (set_metric("request_throughput", math.inf, 1), GateOutcome.IMPOSSIBLE, "is inf"),
    "absurd rate": (set_metric("request_throughput", 2e10), GateOutcome.IMPOSSIBLE, "is 2e+10"),
    "p99 of 0": (set_metric("p99_e2el_ms", 0.0), GateOutcome.IMPOSSIBLE, "p99_e2el_ms is 0"),
    "length NaN": (set_metric("mean_output_tokens", math.nan), GateOutcome.IMPOSSIBLE, "mean_output_tokens is nan"),
    "failed requests": (set_metric("failed", 1.0, 1), GateOutcome.FAILURES, "1 of 501 requests failed in the cand"),
    "wrong answers": (set_metric("output_correct_fraction", 0.6), GateOutcome.SUSPECT, "300 of 500 answers are right"),
    "crashed run": (set_field("status", "failed", 1), GateOutcome.INVALID, "1 of 5 runs of the candidate"),
    "invalid run": (set_verdict(Verdict.INVALID, "tokens", 1), GateOutcome.INVALID, "because of tokens"),
    "all interrupted": (set_field("status", "interrupted"), GateOutcome.INVALID, "run interrupted"),
    "no metrics": (set_field("metrics", {}), GateOutcome.INVALID, "without metrics"),
    "suspect": (set_verdict(Verdict.SUSPECT, "short", 4), GateOutcome.SUSPECT, "4 of 5 runs of the candidate"),
    "other machine": (set_field("machine", "h100"), GateOutcome.NOTHING_COMPARABLE, "machines differ"),
}


@pytest.fixture
def sides(make: Make) -> tuple[Runs, Runs]:
    """Identical builds: 5 runs a side."""
    sides = make("a", 5), make("b", 5)
    for runs in sides:
        runs.kinds |= {
            "mean_output_tokens": MetricKind("tokens", Better.OBSERVATION),
            "mean_input_tokens": MetricKind("tokens", Better.OBSERVATION),
            "failed": MetricKind("requests", Better.SMALLER),
            "output_checked": MetricKind("requests", Better.OBSERVATION),
            "output_correct_fraction": MetricKind("fraction", Better.OBSERVATION),  # or the fall is a regression too
            "p99_e2el_ms": MetricKind("ms", Better.SMALLER),
        }
        for run in runs.runs:
            run.model = "tiny"
            run.metrics |= {"mean_output_tokens": 16.0, "mean_input_tokens": 64.0, "failed": 0.0}
            run.metrics |= {"output_checked": 100.0, "output_correct_fraction": 0.97}
    return sides


@pytest.mark.parametrize("name", CASES)
def test_a_problem_is_the_outcome_and_is_said(sides: tuple[Runs, Runs], name: str) -> None:
    change, outcome, words = CASES[name]
    base, candidate = sides
    assert decide(base, candidate).outcome is GateOutcome.FINE
    change(candidate.runs)
    decision = decide(base, candidate)
    assert decision.outcome is outcome
    assert words in decision.notes[0]
    assert words in decision.problems[0].sentence


ON_EITHER_SIDE = [
    name
    for name, (_, outcome, _) in CASES.items()
    if outcome not in (GateOutcome.INVALID, GateOutcome.FAILURES) and name != "wrong answers"
]


@pytest.mark.parametrize("name", ON_EITHER_SIDE)
def test_what_the_base_lacks_is_a_problem_too(sides: tuple[Runs, Runs], name: str) -> None:
    change, outcome, _ = CASES[name]
    base, candidate = sides
    change(base.runs)
    assert decide(base, candidate).outcome is outcome


CHANCE: dict[str, Change] = {
    "our client was late in one run": set_verdict(Verdict.INVALID, "client_lag", 1),
    "other processes disturbed all": set_verdict(Verdict.SUSPECT, "other_cpu", 5),
    "three of five are SUSPECT": set_verdict(Verdict.SUSPECT, "short", 3),
    "one was interrupted": set_field("status", "interrupted", 1),
    "answers are a little longer": set_metric("mean_output_tokens", 16.01, 2),
}


@pytest.mark.parametrize("name", CHANCE)
def test_what_chance_does_to_a_run_is_no_problem(sides: tuple[Runs, Runs], name: str) -> None:
    base, candidate = sides
    CHANCE[name](candidate.runs)
    decision = decide(base, candidate)
    assert (decision.outcome, decision.problems) == (GateOutcome.FINE, ())


def test_lengths_with_noise_differ_only_beyond_it(sides: tuple[Runs, Runs]) -> None:
    base, candidate = sides
    for runs, lengths in ((base, (90, 110, 95, 105, 100)), (candidate, (96, 112, 104, 99, 107))):
        for run, length in zip(runs.runs, lengths, strict=True):
            run.metrics["mean_output_tokens"] = float(length)
    assert decide(base, candidate).outcome is GateOutcome.FINE
    for run in candidate.runs:
        run.metrics["mean_output_tokens"] *= 2
    assert decide(base, candidate).outcome is GateOutcome.DIFFERENT_WORK


def test_many_failures_on_both_sides_are_compared(sides: tuple[Runs, Runs]) -> None:
    base, candidate = sides
    set_metric("failed", 1.0)(base.runs)
    set_metric("failed", 2.0)(candidate.runs)
    assert decide(base, candidate).problems == ()
    set_metric("failed", 50.0)(candidate.runs)
    for sides_in_order in ((base, candidate), (candidate, base)):
        assert [problem.outcome for problem in decide(*sides_in_order).problems] == [GateOutcome.FAILURES]


def test_a_run_is_not_compared_with_itself(make: Make) -> None:
    base = make("a", 5)
    assert decide(base, base).outcome is GateOutcome.SAME_RUNS
    more = Runs([*base.runs[:1], *make("b", 5, ttft=150).runs], base.kinds)
    assert decide(base, more).outcome is GateOutcome.SAME_RUNS


def test_a_missing_point_is_incomplete_on_either_side(make: Make) -> None:
    both = Runs([*make("a", 5).runs, *make("b", 5, key="l").runs], make("a", 1).kinds)
    one = make("c", 5)
    for sides, side in (((both, one), "base"), ((one, both), "candidate")):
        decision = decide(*sides)
        assert decision.outcome is GateOutcome.INCOMPLETE
        assert f"only the {side} has 1 of its 2 points" in decision.notes[0]


def test_a_regression_comes_first_and_other_problems_are_listed(make: Make) -> None:
    base = Runs([*make("a", 5).runs, *make("b", 5, key="l").runs], make("a", 1).kinds)
    decision = decide(base, make("c", 5, ttft=150))
    assert decision.outcome is GateOutcome.REGRESSION
    assert "only the base has" in decision.notes[0]


def test_figures_of_other_work_are_not_judged(sides: tuple[Runs, Runs]) -> None:
    base, candidate = sides
    set_metric("mean_output_tokens", 32.0)(candidate.runs)
    set_metric("mean_ttft_ms", 300.0)(candidate.runs)
    decision = decide(base, candidate)
    assert decision.outcome is GateOutcome.DIFFERENT_WORK
    assert decision.regressions == ()
    assert {metric.change for _, metric in decision.comparison.metrics} == {ChangeVerdict.INCONCLUSIVE}


def test_a_point_without_evidence_beside_a_judged_one_is_incomplete(make: Make) -> None:
    base, candidate = (
        Runs([*make(name, 5).runs, *make(f"{name}-single", 1, key="l").runs], make(name, 1).kinds) for name in "ab"
    )
    decision = decide(base, candidate)
    assert decision.outcome is GateOutcome.INCOMPLETE
    assert "repeats=5" in decision.notes[0]


def test_files_that_cannot_be_read_are_incomplete(make: Make) -> None:
    base, candidate = make("a", 5), make("b", 5)
    candidate.faults.append("b/6/result.json is not a benchhydra result")
    assert decide(base, candidate).outcome is GateOutcome.INCOMPLETE
    history = HistoryGate(Runs([], base.kinds), candidate, Thresholds(), make("h", 20).runs)
    assert history.decide().outcome is GateOutcome.INCOMPLETE


def test_a_new_point_beside_one_with_history_is_incomplete(make: Make) -> None:
    candidate = Runs([*make("a", 5).runs, *make("b", 5, key="new").runs], make("a", 1).kinds)
    decision = HistoryGate(Runs([], candidate.kinds), candidate, Thresholds(), make("h", 20).runs).decide()
    assert decision.outcome is GateOutcome.INCOMPLETE
    assert "0 runs of history" in decision.notes[0]


def test_key_metrics_of_the_script_are_main_metrics(make: Make) -> None:
    base, candidate = make("a", 5), make("b", 5)
    kinds = {"peak_mib": MetricKind("MiB", Better.SMALLER)}
    for run in (*base.runs, *candidate.runs):
        run.script = "memory"
    for run in base.runs:
        run.metrics["peak_mib"] = 100.0
    base.kinds |= kinds
    assert decide(base, candidate).outcome is GateOutcome.FINE
    base.scripts["memory"] = ScriptHighlights(("peak_mib",))
    assert decide(base, candidate).outcome is GateOutcome.METRIC_MISSING


def test_what_the_user_accepts_passes_and_is_said(sides: tuple[Runs, Runs]) -> None:
    base, candidate = sides
    set_verdict(Verdict.SUSPECT, "short", 5)(candidate.runs)
    decision = decide(base, candidate, GateOutcome.SUSPECT)
    assert (decision.outcome, decision.problems) == (GateOutcome.FINE, ())
    assert "accepted: tiny: 5 of 5 runs of the candidate" in decision.notes[0]


def test_every_outcome_has_an_exit_code_and_a_rank() -> None:
    assert {int(outcome) for outcome in GateOutcome} <= set(EXIT_CODES)
    assert {*GRAVEST_FIRST, GateOutcome.FINE, GateOutcome.REGRESSION} == set(GateOutcome)
    assert set(rules()) >= MACHINE_CHECKS


@pytest.mark.parametrize(
    ("table", "p"),
    [
        ((3, 10, 3, 10), 1.0),
        ((1, 9, 11, 14), 0.0027594561852200836),
        ((0, 5, 0, 5), 1.0),
        ((12, 24, 0, 24), 7.762919144630687e-05),
    ],
)
def test_fishers_exact_test(table: tuple[int, int, int, int], p: float) -> None:
    """The values are those of scipy.stats.fisher_exact."""
    assert fisher.p_value(*table) == pytest.approx(p, rel=1e-3)
