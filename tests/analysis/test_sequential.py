"""The evidence of pairs: its formula, its error rate at every look, and what a plan promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import nct, t

from benchhydra.analysis.sequential import PRIOR, critical, interval, pairs_needed


def bayes_factor(statistic: float, pairs: int) -> float:
    """The evidence by numerical integration of its definition: noncentral against central Student t."""
    spread = 1 / math.sqrt(PRIOR)

    def part(effect: float) -> float:
        prior = math.exp(-((effect / spread) ** 2) / 2) / (spread * math.sqrt(2 * math.pi))
        return float(nct.pdf(statistic, pairs - 1, effect * math.sqrt(pairs))) * prior

    value, _ = integrate.quad(part, -12, 12, limit=200)
    return float(value / t.pdf(statistic, pairs - 1))


@pytest.mark.parametrize(("pairs", "alpha"), [(6, 0.01), (10, 0.0025), (25, 0.05)])
def test_the_limit_is_where_the_bayes_factor_is_one_over_alpha(pairs: int, alpha: float) -> None:
    assert bayes_factor(critical(pairs, alpha), pairs) == pytest.approx(1 / alpha, rel=0.02)


def test_too_few_pairs_can_never_be_sure() -> None:
    assert math.isinf(critical(1, 0.5))
    assert math.isinf(critical(3, 0.0025))
    assert math.isinf(interval(np.array([0.1, 0.1, 0.1]), 0.0025).reach)


def test_looking_after_every_pair_keeps_the_error() -> None:
    rng = np.random.default_rng(4)
    alpha, pairs, tests = 0.05, 60, 4000
    x = rng.standard_normal((tests, pairs))
    count = np.arange(1, pairs + 1)
    mean = np.cumsum(x, axis=1) / count
    spread = np.sqrt((np.cumsum(x * x, axis=1) - count * mean**2) / np.maximum(count - 1, 1))
    limits = np.array([critical(int(n), alpha) for n in count])
    with np.errstate(divide="ignore", invalid="ignore"):
        wrong = (np.abs(mean) / spread * np.sqrt(count) > limits).any(axis=1).mean()
    assert 0.005 < wrong < alpha


def test_the_interval_is_where_the_evidence_is_too_weak() -> None:
    pairs = np.random.default_rng(1).normal(0.05, 0.02, 15)
    found = interval(pairs, 0.01)
    at_the_edge = (np.mean(pairs) - found.low) / (np.std(pairs, ddof=1) / math.sqrt(15))
    assert at_the_edge == pytest.approx(critical(15, 0.01))
    assert found.high - found.mean == pytest.approx(found.mean - found.low)


def test_a_plan_keeps_its_promise() -> None:
    needed = pairs_needed(0.03, 0.05, 0.0025)
    assert needed is not None
    pairs = np.random.default_rng(2).normal(0.05, 0.03, (2000, needed))
    seen = np.mean([interval(row, 0.0025).low > 0 for row in pairs])
    assert 0.7 < seen < 0.9
    assert pairs_needed(1.0, 0.001, 0.01) is None
