"""The simulated gates of docs/statistics.md, fewer of them: bounds are four standard errors off the full trials."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from benchhydra.analysis.runs import Runs
from benchhydra.result import MetricValue, Result

FILE = Path(__file__).parents[2] / "benchmarks/gate_trials.py"
GATES = 300


@pytest.fixture(scope="module")
def trials() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gate_trials", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reach(fraction: float) -> float:
    """Four standard errors of a fraction of ``GATES`` gates."""
    return 4 * math.sqrt(fraction * (1 - fraction) / GATES)


def simulated(trials: ModuleType, kind: str, points: int = 1) -> Callable[[np.random.Generator], Any]:
    return lambda rng: trials.simulated(kind, points, rng)


@pytest.mark.parametrize(
    ("kind", "rule", "found"),
    [
        ("independent", "with a history", 0.92),
        ("independent", "no history", 0.90),
        ("independent", "against history", 0.99),
        ("equal noise", "no history, no re-runs", 0.65),
        ("outliers on top", "with a history", 0.90),
        ("correlated heavy outlier runs", "no history", 0.90),
        ("drift", "no history", 0.70),
    ],
)
def test_the_two_stage_gate_keeps_its_error_rates(trials: ModuleType, kind: str, rule: str, found: float) -> None:
    rules = {each.name: each for each in trials.RULES}
    score = trials.trial(simulated(trials, kind), GATES, [7], rules[rule])
    assert score.false_alarms <= 0.01 + reach(0.01)
    assert score.found >= found - reach(found)
    assert score.probable_alarms <= 0.05 + reach(0.05)
    assert score.probably_found >= score.found


def test_several_points_share_the_chance_of_a_false_alarm(trials: ModuleType) -> None:
    score = trials.trial(simulated(trials, "independent", 3), GATES // 2, [7], trials.RULES[0])
    assert score.false_alarms <= 0.01 + 2 * reach(0.01)
    assert score.found >= 0.8


def test_comparing_with_the_previous_run_alarms_often_and_misses_slowdowns(trials: ModuleType) -> None:
    score = trials.one_against_one(simulated(trials, "independent"), GATES, [7])
    assert score.false_alarms > 0.1
    assert score.found < 0.15


def test_a_slowed_metric_has_the_stated_noise(trials: ModuleType) -> None:
    ((logs, scale),) = trials.blocks(simulated(trials, "independent"), 200, [3], 5)
    slower = trials.slow_down(logs, scale)
    assert np.std(logs.history[slower]) == pytest.approx(0.02, rel=0.1)
    assert np.mean(logs.rounds[0][slower]) == pytest.approx(math.log(1.05), abs=0.005)


def test_recorded_runs_are_resampled(trials: ModuleType, tmp_path: Path, make: Callable[..., Runs]) -> None:
    recorded = make("a", 12)
    for i, run in enumerate(recorded.runs):
        metrics = {
            key: MetricValue(key=key, unit=recorded.kinds[key].unit, value=value, better=recorded.kinds[key].better)
            for key, value in run.metrics.items()
        }
        Result(
            status="ok",
            verdict=run.verdict,
            run_id=run.run_id,
            point_key="0123456789abcdef",
            script="serving",
            epoch_time=i + 1.0,
            config={},
            metrics=metrics,
        ).write(tmp_path / str(i))
    source = trials.recorded(str(tmp_path), whole=True)
    deviations = source.draw(50, 4, np.random.default_rng(1))
    assert deviations.shape == (50, 1, 2, 4)
    assert np.std(source.draw(500, 4, np.random.default_rng(1)), axis=(0, 1, 3)) == pytest.approx([1, 1], rel=0.25)
    values = {round(float(v), 9) for v in deviations[:, 0, 0].ravel()}
    assert len(values) == 12
