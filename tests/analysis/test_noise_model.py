"""History follows system and workload: whose noise, and whose level, a point without a history of its own gets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchhydra.analysis.comparison import GateOutcome
from benchhydra.analysis.history import metric_histories
from benchhydra.analysis.history_gate import HistoryGate
from benchhydra.analysis.noise_model import NoiseModel
from benchhydra.analysis.runs import Runs
from benchhydra.analysis.stats.change_points import scale_of_neighbours
from benchhydra.analysis.thresholds import Thresholds

Make = Callable[..., Runs]


def test_steps_and_outliers_do_not_change_the_noise_estimate() -> None:
    logs = np.random.default_rng(1).normal(0, 0.02, 60)
    logs[30:] += 0.5
    logs[10] += 1
    assert scale_of_neighbours(list(np.exp(logs))) == pytest.approx(0.02, rel=0.3)


def test_a_point_without_history_borrows_noise_from_other_points(make: Make) -> None:
    noise_model = NoiseModel(make("a", 20, key="k1").runs + make("b", 20, key="k2").runs)
    prior = noise_model.prior("m", ["new"], "mean_ttft_ms")
    assert prior is not None
    assert prior.scale == pytest.approx(0.01, rel=0.4)
    assert noise_model.prior("m", ["k1"], "mean_ttft_ms") is None
    assert noise_model.prior("another machine", ["new"], "mean_ttft_ms") is None


def with_settings(runs: Runs, **settings: object) -> Runs:
    for run in runs.runs:
        run.settings = {key.replace("__", "."): value for key, value in settings.items()}
    return runs


def test_noise_is_borrowed_from_the_same_system_or_workload_first(make: Make) -> None:
    own = with_settings(make("new", 1, key="new"), qps=8, engine__args__seqs=64)
    related = with_settings(make("a", 20, key="k1"), qps=4, engine__args__seqs=64)
    foreign = with_settings(make("b", 20, key="k2"), qps=1, engine__args__seqs=256)
    for run in foreign.runs:
        run.metrics["mean_ttft_ms"] **= 5
    history = related.runs + foreign.runs
    knows_settings = NoiseModel(history, compared=own.runs).prior("m", ["new"], "mean_ttft_ms")
    assert knows_settings is not None
    assert knows_settings.scale == pytest.approx(0.01, rel=0.4)
    without = NoiseModel(history).prior("m", ["new"], "mean_ttft_ms")
    assert without is not None
    assert float(without.scale) > 0.02


def test_both_systems_of_a_pair_lend_the_noise_of_their_histories(make: Make) -> None:
    noise_model = NoiseModel(make("a", 20, key="k1").runs + make("b", 20, key="k2").runs)
    assert len(noise_model.groups("m", ["k1", "k2"], "mean_ttft_ms")) == 2
    assert len(noise_model.groups("m", ["k1", "k1"], "mean_ttft_ms")) == 1


def test_a_new_flag_is_judged_against_the_history_of_the_only_other_system(make: Make) -> None:
    def gate(factor: float, *systems: Runs) -> HistoryGate:
        candidate = with_settings(make("new", 5, key="new", ttft=100 * factor), qps=8, engine__args__seqs=128)
        runs = [run for system in systems for run in system.runs]
        return HistoryGate(Runs([], candidate.kinds), candidate, Thresholds(), runs)

    usual = with_settings(make("a", 20, key="k1"), qps=8, engine__args__seqs=64)
    other = with_settings(make("b", 20, key="k2"), qps=8, engine__args__seqs=256)
    other_load = with_settings(make("c", 20, key="k3"), qps=1, engine__args__seqs=64)
    assert gate(1.2, usual, other_load).decide().outcome is GateOutcome.REGRESSION
    assert gate(1.0, usual, other_load).decide().outcome is GateOutcome.FINE
    assert gate(1.2, usual, other).decide().outcome is GateOutcome.NOTHING_COMPARABLE
    assert gate(1.2, other_load).decide().outcome is GateOutcome.NOTHING_COMPARABLE


def test_histories_of_equal_labels_say_in_what_their_systems_differ(make: Make) -> None:
    usual = with_settings(make("a", 3, key="k1"), qps=8, engine__args__seqs=64)
    other = with_settings(make("b", 3, key="k2"), qps=8, engine__args__seqs=256)
    for run in (*usual.runs, *other.runs):
        run.load_label = "qps=8"
    histories = metric_histories(Runs(usual.runs + other.runs, usual.kinds), "mean_ttft_ms")
    assert [history.system for history in histories] == [{"engine.args.seqs": 64}, {"engine.args.seqs": 256}]
