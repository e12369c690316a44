"""Outlier runs are left out and named, and are never more than a third of a side."""

from __future__ import annotations

import numpy as np
import pytest

from benchhydra.analysis.compare import compare
from benchhydra.analysis.comparison import ChangeVerdict
from benchhydra.analysis.noise_model import NoiseModel
from benchhydra.analysis.outlier_runs import history_without_outliers
from benchhydra.analysis.runs import MetricKind, Run, Runs
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.result import Better, Verdict

METRICS = [f"m{i}_ms" for i in range(12)]


def runs(name: str, count: int, *, slow: tuple[int, ...] = (), factor: float = 1.0, seed: int = 0) -> Runs:
    """Runs with 2 % noise; those in ``slow`` took 20 % longer in every metric."""
    rng = np.random.default_rng([seed, *name.encode()])
    made_runs = [
        Run(
            run_id=f"{name}{i}",
            point_key="k",
            verdict=Verdict.VALID,
            status="ok",
            epoch_time=float(i),
            machine="m",
            metrics={
                key: 100.0 * factor * (1.2 if i in slow else 1.0) * float(np.exp(rng.normal(0, 0.02)))
                for key in METRICS
            },
        )
        for i in range(count)
    ]
    return Runs(made_runs, {key: MetricKind("ms", Better.SMALLER) for key in METRICS})


def test_a_disturbed_run_is_left_out_and_named() -> None:
    comparison = compare(runs("a", 5), runs("b", 5, slow=(3,)), thresholds=Thresholds(), history=runs("h", 20).runs)
    (point,) = comparison.points
    assert point.notes == ("outliers left out of the candidate, far from its other runs in most metrics: run b3",)
    assert {metric.candidate_runs for metric in point.metrics} == {4}
    assert not comparison.count(ChangeVerdict.WORSE)


def test_a_slower_build_is_not_an_outlier() -> None:
    comparison = compare(runs("a", 5), runs("b", 5, factor=1.2), thresholds=Thresholds(), history=runs("h", 20).runs)
    assert comparison.points[0].notes == ()
    assert comparison.count(ChangeVerdict.WORSE) == len(METRICS)


def test_frequent_deviations_are_not_outliers() -> None:
    (point,) = compare(runs("a", 5), runs("b", 5, slow=(1, 4)), thresholds=Thresholds()).points
    assert point.notes == ()


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_runs_have_no_outlier(count: int) -> None:
    (point,) = compare(runs("a", 5), runs("b", count, slow=(0,)), thresholds=Thresholds()).points
    assert point.notes == ()


def test_one_deviating_metric_is_not_enough_for_an_outlier() -> None:
    wild = runs("b", 5)
    wild.runs[2].metrics["m0_ms"] = 1000.0
    assert compare(runs("a", 5), wild, thresholds=Thresholds()).points[0].notes == ()


def test_outliers_are_removed_from_history_and_steps_are_kept() -> None:
    past = runs("h", 20, slow=(4, 11)).runs + runs("i", 20, factor=1.3).runs
    kept_ids = {run.run_id for run in history_without_outliers(past)}
    assert {run.run_id for run in past} - kept_ids == {"h4", "h11"}
    assert NoiseModel(past).of_point("m", "k") == history_without_outliers(past)
