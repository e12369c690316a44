"""The evidence of pairs: its formula, its error rate at every look, and how many pairs a plan asks for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import nct, t

from benchhydra.analysis.stats.power import pairs_needed
from benchhydra.analysis.stats.sequential import (
    PRIOR_PAIRS,
    confidence_interval,
    critical_t,
    log_sign_evidence,
    sign_interval,
    t_interval,
)


def bayes_factor(statistic: float, pairs: int) -> float:
    """The evidence by numerical integration of its definition: noncentral against central Student t."""
    spread = 1 / math.sqrt(PRIOR_PAIRS)

    def part(effect: float) -> float:
        prior = math.exp(-((effect / spread) ** 2) / 2) / (spread * math.sqrt(2 * math.pi))
        return float(nct.pdf(statistic, pairs - 1, effect * math.sqrt(pairs))) * prior

    value, _ = integrate.quad(part, -12, 12, limit=200)
    return float(value / t.pdf(statistic, pairs - 1))


@pytest.mark.parametrize(("pairs", "alpha"), [(6, 0.01), (10, 0.0025), (25, 0.05)])
def test_the_limit_is_where_the_bayes_factor_is_one_over_alpha(pairs: int, alpha: float) -> None:
    assert bayes_factor(critical_t(pairs, alpha), pairs) == pytest.approx(1 / alpha, rel=0.02)


@pytest.mark.parametrize(("above", "pairs"), [(6, 6), (3, 10), (20, 31)])
def test_the_evidence_of_signs_is_a_bayes_factor_too(above: int, pairs: int) -> None:
    """Against its definition: a fair coin, and one whose probability is drawn from Jeffreys' prior, Beta(1/2, 1/2)."""
    value, _ = integrate.quad(
        lambda x: math.sin(x) ** (2 * above) * math.cos(x) ** (2 * pairs - 2 * above), 0, math.pi / 2
    )
    assert math.exp(log_sign_evidence(above, pairs)) == pytest.approx(value * 2 / math.pi * 2**pairs)


def test_too_few_pairs_can_never_decide() -> None:
    assert math.isinf(critical_t(1, 0.5))
    assert math.isinf(critical_t(3, 0.0025))
    assert confidence_interval(np.array([0.1, 0.1, 0.1]), 0.0025) == pytest.approx((0.1, -math.inf, math.inf))


def test_one_outlier_pair_does_not_hide_a_change() -> None:
    pairs = np.random.default_rng(3).normal(0.05, 0.005, 20)
    pairs[4] = -1.0
    interval = confidence_interval(pairs, 0.0025)
    assert 0.03 < interval.low < interval.middle < interval.high < 0.07


@pytest.mark.parametrize("kind", ["normal", "cauchy"])
def test_checking_after_every_pair_keeps_the_error_rate(kind: str) -> None:
    rng = np.random.default_rng(4)
    alpha, pairs, tests = 0.1, 30, 800
    x = rng.standard_normal((tests, pairs)) if kind == "normal" else rng.standard_cauchy((tests, pairs))
    intervals = [[confidence_interval(row[:n], alpha) for n in range(2, pairs + 1)] for row in x]
    wrong = np.mean([any(i.low > 0 or i.high < 0 for i in row) for row in intervals])
    assert 0.005 < wrong < alpha


def test_the_ends_of_the_signs_interval() -> None:
    pairs = np.array([float(i) for i in range(1, 13)])
    low, high = sign_interval(pairs, 0.01)
    assert (
        log_sign_evidence(int((pairs > high).sum()), 12)
        >= -math.log(0.01)
        > log_sign_evidence(int((pairs > high).sum()) + 1, 12)
    )
    assert (low, high) == (1.0, 12.0)
    assert sign_interval(pairs[:5], 0.01) == (-math.inf, math.inf)


def test_the_interval_of_the_mean_is_where_t_is_critical() -> None:
    pairs = np.random.default_rng(1).normal(0.05, 0.02, 15)
    low, high = t_interval(pairs, 0.01)
    assert (np.mean(pairs) - low) / (np.std(pairs, ddof=1) / math.sqrt(15)) == pytest.approx(critical_t(15, 0.01))
    assert high - np.mean(pairs) == pytest.approx(np.mean(pairs) - low)


def test_the_interval_is_the_intersection_of_both() -> None:
    pairs = np.random.default_rng(1).normal(0.05, 0.02, 15)
    (t_low, t_high), (sign_low, sign_high) = t_interval(pairs, 0.005), sign_interval(pairs, 0.005)
    assert confidence_interval(pairs, 0.01)[1:] == (max(sign_low, t_low), min(sign_high, t_high))


def test_planned_pairs_have_the_planned_power() -> None:
    needed = pairs_needed(0.03, 0.05, 0.0025)
    assert needed is not None
    pairs = np.random.default_rng(2).normal(0.05, 0.03, (500, needed))
    found_fraction = np.mean([confidence_interval(row, 0.0025).low > 0 for row in pairs])
    assert 0.7 < found_fraction < 0.95
    assert pairs_needed(1.0, 0.001, 0.01) is None
