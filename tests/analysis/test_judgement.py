"""What holds for every verdict: rates, order, symmetry, and the interval that it was decided on."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchhydra.analysis.compare import compare
from benchhydra.analysis.comparison import (
    GRAVEST_CHANGE_FIRST,
    Basis,
    ChangeVerdict,
    Comparison,
    GateOutcome,
    MetricChange,
)
from benchhydra.analysis.gate import Gate
from benchhydra.analysis.judgement import judged_metric
from benchhydra.analysis.run_evidence import with_run_evidence
from benchhydra.analysis.runs import MetricKind, Run, Runs, ScriptHighlights
from benchhydra.analysis.stats import Floats
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.result import Better, Verdict

LIMITS = Thresholds()
MAIN = ("mean_ttft_ms", "mean_tpot_ms", "request_throughput")
OTHERS = ("p90_ttft_ms", "p90_tpot_ms", "mean_itl_ms", "p90_itl_ms")
KINDS = {name: MetricKind("ms", Better.SMALLER) for name in (*MAIN, *OTHERS)} | {
    "request_throughput": MetricKind("requests/s", Better.BIGGER)
}
SCRIPTS = {"serving": ScriptHighlights(key_metrics=MAIN)}
MIRROR = {
    ChangeVerdict.WORSE: ChangeVerdict.BETTER,
    ChangeVerdict.PROBABLY_WORSE: ChangeVerdict.PROBABLY_BETTER,
    ChangeVerdict.INCONCLUSIVE: ChangeVerdict.INCONCLUSIVE,
    ChangeVerdict.SAME: ChangeVerdict.SAME,
    ChangeVerdict.PROBABLY_BETTER: ChangeVerdict.PROBABLY_WORSE,
    ChangeVerdict.BETTER: ChangeVerdict.WORSE,
}


def metric(name: str = "mean_ttft_ms", better: Better = Better.SMALLER) -> MetricChange:
    return MetricChange(
        metric=name,
        unit="ms",
        better=better,
        base=0.0,
        candidate=0.0,
        base_runs=5,
        candidate_runs=5,
        ratio=0.0,
        smallest=0.02,
    )


def verdict_of(
    base: Sequence[float] | Floats,
    candidate: Sequence[float] | Floats,
    better: Better = Better.SMALLER,
    alpha: float = 0.01 / 6,
) -> MetricChange:
    """The verdict on logs of runs."""
    evidence = with_run_evidence(metric(better=better), np.array(base), np.array(candidate), [], None)
    return judged_metric(evidence, alpha)


def side(
    name: str,
    count: int = 5,
    *,
    factors: dict[str, float] | None = None,
    noise: float = 0.02,
    drift: float = 0.0,
    first_s: float = 0.0,
    points: int = 1,
    seed: int = 0,
) -> Runs:
    """Runs of some points; ``factors`` multiply metrics, ``drift`` multiplies latencies from run to run."""
    rng = np.random.default_rng([seed, *name.encode()])
    runs = []
    for point in range(points):
        for i in range(count):
            when = first_s + i
            slower = math.exp(drift * when)
            values = {key: 100 * math.exp(rng.normal(0, noise)) * (factors or {}).get(key, 1.0) for key in KINDS}
            metrics = {key: v / slower if key == "request_throughput" else v * slower for key, v in values.items()}
            runs.append(
                Run(
                    run_id=f"{name}-{point}-{i}",
                    point_key=f"p{point}",
                    verdict=Verdict.VALID,
                    status="ok",
                    epoch_time=when,
                    machine="m",
                    script="serving",
                    load_label=f"qps={point}",
                    metrics=metrics,
                )
            )
    return Runs(runs, dict(KINDS), [], dict(SCRIPTS))


def main_verdicts(comparison: Comparison) -> dict[str, ChangeVerdict]:
    return {change.metric: change.change for _, change in comparison.main_changes}


runs_of_a_side = st.lists(st.floats(-0.1, 0.1), min_size=2, max_size=8)


@given(runs_of_a_side, runs_of_a_side, st.floats(0, 0.3), st.floats(0, 0.3))
@settings(max_examples=60, deadline=None)
def test_a_larger_slowdown_never_gets_a_milder_verdict(
    base: list[float], candidate: list[float], less: float, more: float
) -> None:
    start = max(0.0, float(np.mean(base) - np.mean(candidate)))  # from there on, more is a slowdown
    changes = [verdict_of(base, np.array(candidate) + start + shift) for shift in sorted((less, less + more))]
    if changes[0].loss < 0:
        return
    gravities = [GRAVEST_CHANGE_FIRST.index(change.change) for change in changes]
    assert gravities[1] <= gravities[0]


@given(runs_of_a_side, runs_of_a_side, st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_order_of_runs_and_the_names_of_sides_change_nothing(
    base: list[float], candidate: list[float], rng: random.Random
) -> None:
    there = verdict_of(base, candidate)
    shuffled = verdict_of(rng.sample(base, len(base)), rng.sample(candidate, len(candidate)))
    back = verdict_of(candidate, base)
    assert shuffled.change is there.change
    assert back.change is MIRROR[there.change]
    assert back.p_better == pytest.approx(there.p_worse)
    throughput = verdict_of(-np.array(base), -np.array(candidate), Better.BIGGER)
    assert throughput.change is there.change


@given(runs_of_a_side, runs_of_a_side)
@settings(max_examples=100, deadline=None)
def test_the_interval_is_the_one_that_was_decided_on(base: list[float], candidate: list[float]) -> None:
    change = verdict_of(base, candidate)
    assert change.low is not None
    assert change.high is not None
    assert change.low <= change.ratio <= change.high
    excludes_zero = change.low > 0 or change.high < 0
    if change.change in (ChangeVerdict.WORSE, ChangeVerdict.BETTER):
        assert excludes_zero
        assert abs(math.log1p(change.ratio)) > math.log1p(change.smallest)
    elif change.change is ChangeVerdict.SAME:
        assert change.level == pytest.approx(0.9)
        assert max(math.log1p(change.high), -math.log1p(change.low)) < math.log1p(change.smallest) + 1e-9
    else:
        assert not excludes_zero or abs(math.log1p(change.ratio)) <= math.log1p(change.smallest)
    if change.change is not ChangeVerdict.SAME:
        assert change.level == pytest.approx(1 - 2 * 0.01 / 6)


@pytest.mark.parametrize("scale", [0.02, 0.08])
@pytest.mark.parametrize("runs", [(2, 2), (5, 5), (2, 10)])
def test_one_metric_of_identical_builds_is_worse_no_more_often_than_allowed(
    scale: float, runs: tuple[int, int]
) -> None:
    rng, alpha, trials = np.random.default_rng([3, *runs]), 0.05, 400
    samples = [[rng.normal(0, scale, count) for count in runs] for _ in range(trials)]
    worse = sum(verdict_of(base, candidate, alpha=alpha).change is ChangeVerdict.WORSE for base, candidate in samples)
    assert worse / trials <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / trials)


def test_the_verdict_is_over_the_main_metrics() -> None:
    slow = side("b", factors={"mean_itl_ms": 1.5})
    comparison = compare(side("a"), slow, thresholds=LIMITS)
    changes = {change.metric: change for _, change in comparison.metrics}
    assert changes["mean_itl_ms"].change is ChangeVerdict.WORSE
    assert not changes["mean_itl_ms"].is_main
    assert comparison.tests == len(MAIN)
    assert Gate(side("a"), slow, LIMITS).decide().outcome is GateOutcome.FINE


def test_a_threshold_file_may_name_the_main_metrics() -> None:
    limits = Thresholds(main=["*_itl_ms"])
    slow = side("b", factors={"mean_itl_ms": 1.5})
    assert Gate(side("a"), slow, limits).decide().outcome is GateOutcome.REGRESSION
    assert set(main_verdicts(compare(side("a"), slow, thresholds=limits))) == {"mean_itl_ms", "p90_itl_ms"}


def test_metrics_lend_one_another_their_noise_on_the_first_day() -> None:
    slow = {"mean_tpot_ms": 1.06}
    found, alone = 0, 0
    for seed in range(20):
        base, candidate = side("a", seed=seed), side("b", factors=slow, seed=seed)
        found += main_verdicts(compare(base, candidate, thresholds=LIMITS))["mean_tpot_ms"] is ChangeVerdict.WORSE
        left, right = (np.log([run.metrics["mean_tpot_ms"] for run in runs.runs]) for runs in (base, candidate))
        alone += verdict_of(left, right, alpha=0.01 / 3).change is ChangeVerdict.WORSE
    assert found >= alone + 3


def test_what_is_probably_worse_does_not_fail_a_gate_unless_it_is_asked_to() -> None:
    seed = next(seed for seed in range(200) if _only_probable(seed))
    base, candidate = side("a", seed=seed), side("b", factors={"mean_tpot_ms": 1.045}, seed=seed)
    decision = Gate(base, candidate, LIMITS).decide()
    assert decision.outcome is GateOutcome.FINE
    assert [change.metric for _, change in decision.probable] == ["mean_tpot_ms"]
    ((_, change),) = decision.probable
    assert change.repeats_needed is not None
    assert change.repeats_needed > 5
    assert any(f"repeats={change.repeats_needed} or benchhydra ab" in note for note in decision.notes)
    assert Gate(base, candidate, LIMITS, fail_on_probable=True).decide().outcome is GateOutcome.REGRESSION


def _only_probable(seed: int) -> bool:
    base, candidate = side("a", seed=seed), side("b", factors={"mean_tpot_ms": 1.045}, seed=seed)
    verdicts = main_verdicts(compare(base, candidate, thresholds=LIMITS))
    others = {verdict for name, verdict in verdicts.items() if name != "mean_tpot_ms"}
    return verdicts["mean_tpot_ms"] is ChangeVerdict.PROBABLY_WORSE and not others & {
        ChangeVerdict.WORSE,
        ChangeVerdict.PROBABLY_WORSE,
    }


def test_metrics_that_are_equal_by_construction_are_one_test() -> None:
    sides = side("a"), side("b")
    for runs in sides:
        for run in runs.runs:
            run.metrics["output_throughput"] = 64 * run.metrics["request_throughput"]
        runs.kinds["output_throughput"] = MetricKind("tokens/s", Better.BIGGER)
        runs.scripts["serving"] = ScriptHighlights(key_metrics=(*MAIN, "output_throughput"))
    comparison = compare(*sides, thresholds=LIMITS)
    changes = {change.metric: change for _, change in comparison.metrics}
    assert changes["output_throughput"].same_as == "request_throughput"
    assert comparison.tests == len(MAIN)
    assert changes["output_throughput"].change is changes["request_throughput"].change


def test_a_drifting_machine_is_no_slower_build() -> None:
    base, candidate = side("a", 20, noise=0.005, drift=0.003), side("b", 20, noise=0.005, drift=0.003, first_s=20)
    comparison = compare(base, candidate, thresholds=LIMITS)
    assert ChangeVerdict.WORSE not in main_verdicts(comparison).values()
    assert "drift" in comparison.points[0].notes[0]
    steady = compare(side("a", 20, noise=0.005), side("b", 20, noise=0.005, first_s=20), thresholds=LIMITS)
    assert set(main_verdicts(steady).values()) == {ChangeVerdict.SAME}
    assert not steady.points[0].notes


def test_a_slower_build_is_found_on_a_drifting_machine() -> None:
    slow = {"mean_tpot_ms": 1.15}
    base = side("a", 20, noise=0.005, drift=0.003)
    candidate = side("b", 20, noise=0.005, drift=0.003, first_s=20, factors=slow)
    verdicts = main_verdicts(compare(base, candidate, thresholds=LIMITS))
    assert [name for name, verdict in verdicts.items() if verdict is ChangeVerdict.WORSE] == ["mean_tpot_ms"]


def test_many_points_share_the_chance_of_a_false_alarm_and_lend_their_noise() -> None:
    comparison = compare(side("a", 3, points=6), side("b", 3, points=6), thresholds=LIMITS)
    assert comparison.tests == 6 * len(MAIN)
    freedom = [change.freedom for _, change in comparison.metrics if change.freedom is not None]
    assert min(freedom) > 6  # of its own, each has 3.8
    assert all(change.basis is Basis.REPEATS for _, change in comparison.metrics)


def test_a_metric_without_evidence_gets_no_verdict() -> None:
    assert judged_metric(replace(metric(), note="zero has no ratio"), 0.01).change is ChangeVerdict.INCONCLUSIVE


def test_verdicts_have_words() -> None:
    assert ChangeVerdict.PROBABLY_WORSE.words == "probably worse"
    assert [verdict for verdict in ChangeVerdict if verdict.decided] == [
        ChangeVerdict.WORSE,
        ChangeVerdict.SAME,
        ChangeVerdict.BETTER,
    ]
