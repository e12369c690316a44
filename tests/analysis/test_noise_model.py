"""The noise of a point that has no history of its own: from the other points on its kind of machine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchhydra.analysis.noise_model import NoiseModel
from benchhydra.analysis.runs import Runs
from benchhydra.analysis.stats.change_points import scale_of_neighbours

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
