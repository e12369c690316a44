"""The confidence interval of paired differences that may be looked at after every pair.

Two kinds of evidence, each at half of alpha, so that one disturbed pair does not silence the others:

- Student's: the Bayes factor of t under a normal prior on the standardised effect (mean 0, variance 1/PRIOR_PAIRS) and
  the right Haar prior on the scale. Formula: Gönen, Johnson, Lu, Westfall, Am. Stat. 59 (2005); that one may stop at
  any time: Hendriksen, de Heide, Grünwald, Bayesian Analysis 16 (2021); Pérez-Ortiz et al., Ann. Stat. 52 (2024).
- The signs': the Bayes factor of the fraction of pairs above, under Jeffreys' prior. Where the order in pairs is random
  and the sides are alike, signs are fair coins, whatever the noise is. Formula: Krichevsky and Trofimov, IEEE Trans.
  Inf. Theory 27 (1981).

Under no difference the chance that either ever exceeds 2/alpha is at most alpha (Ville's inequality). The interval is
the set of differences that neither excludes. benchmarks/ab_trials.py checks it, with noise that is not normal too.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from benchhydra.analysis.stats import Floats
from benchhydra.analysis.stats.robust import SMALLEST_SCALE

#: Weight of the prior, in pairs: effects of about two standard deviations of a pair are expected.
PRIOR_PAIRS = 0.25
#: Standard deviation of a difference of two runs, in standard deviations of a run.
PAIR_SCALE = math.sqrt(2)


class ConfidenceInterval(NamedTuple):
    """A difference of logs, and the ends of its interval (inf: too few pairs)."""

    middle: float
    low: float
    high: float


def confidence_interval(differences: Floats, alpha: float) -> ConfidenceInterval:
    """The interval that holds after every pair at once with probability 1 - alpha. differences: shape (pairs,)."""
    t_low, t_high = t_interval(differences, alpha / 2)
    sign_low, sign_high = sign_interval(differences, alpha / 2)
    low, high = max(sign_low, t_low), min(sign_high, t_high)
    if low > high:  # they exclude each other: the signs hold for more kinds of noise
        low, high = sign_low, sign_high
    return ConfidenceInterval(hodges_lehmann(differences), low, high)


def hodges_lehmann(differences: Floats) -> float:
    """The median of the means of any two differences (Hodges and Lehmann, Ann. Math. Stat. 34, 1963)."""
    return float(np.median(((differences[:, None] + differences) / 2)[np.triu_indices(len(differences))]))


def t_interval(differences: Floats, alpha: float) -> tuple[float, float]:
    """The differences that Student's evidence does not exclude."""
    limit = critical_t(len(differences), alpha)
    if math.isinf(limit):
        return -math.inf, math.inf
    mean, scale = float(np.mean(differences)), float(np.std(differences, ddof=1))
    reach = limit * max(scale, SMALLEST_SCALE) / math.sqrt(len(differences))
    return mean - reach, mean + reach


def critical_t(pairs: int, alpha: float) -> float:
    """The |t| of ``pairs`` differences at which Student's evidence is 1/alpha; inf where it never is."""
    if pairs < 2:
        return math.inf
    prior_fraction = PRIOR_PAIRS / (pairs + PRIOR_PAIRS)
    growth = math.exp(-2 / pairs * (math.log(alpha) + math.log(prior_fraction) / 2))
    if prior_fraction * growth >= 1:
        return math.inf
    return math.sqrt((pairs - 1) * (growth - 1) / (1 - prior_fraction * growth))


def sign_interval(differences: Floats, alpha: float) -> tuple[float, float]:
    """The differences that the signs do not exclude: from one order statistic to another."""
    ordered, pairs = np.sort(differences), len(differences)
    excluded = [above for above in range(pairs // 2) if log_sign_evidence(above, pairs) >= -math.log(alpha)]
    if not excluded:
        return -math.inf, math.inf
    return float(ordered[excluded[-1]]), float(ordered[-1 - excluded[-1]])


def log_sign_evidence(above: int, pairs: int) -> float:
    """Log of the evidence against a fair coin, of ``above`` of ``pairs`` differences being above."""
    log_beta = math.lgamma(above + 0.5) + math.lgamma(pairs - above + 0.5) - math.lgamma(pairs + 1)
    return pairs * math.log(2) + log_beta - math.log(math.pi)
