"""How sure a series of paired differences makes, looked at after every pair, with a false-alarm rate that still holds.

Two kinds of evidence, each at half of alpha, so that one disturbed pair does not silence the others:

- Student's: the Bayes factor of t under a normal prior on the standardised effect (mean 0, variance 1/PRIOR) and the
  right Haar prior on the scale. Formula: Gönen, Johnson, Lu, Westfall, Am. Stat. 59 (2005); that one may stop at will:
  Hendriksen, de Heide, Grünwald, Bayesian Analysis 16 (2021); Pérez-Ortiz et al., Ann. Stat. 52 (2024).
- The signs': the Bayes factor of the share of pairs above, under Jeffreys' prior. Where the order in pairs is random
  and the sides are alike, signs are fair coins, whatever the noise is. Formula: Krichevsky and Trofimov, IEEE Trans.
  Inf. Theory 27 (1981).

Under no difference the chance that either ever exceeds 2/alpha is at most alpha (Ville's inequality). The interval is
the set of differences that neither excludes. benchmarks/ab_trials.py checks it, with noise that is not normal too.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from benchhydra.analysis.stats.robust import SMALLEST_SCALE, Floats

#: Weight of the prior, in pairs: effects of about two standard deviations of a pair are expected.
PRIOR = 0.25
#: Differences of pairs have so many times the standard deviation of runs.
PAIR = math.sqrt(2)


class ConfidenceInterval(NamedTuple):
    """A difference of logs, and the ends of its interval (inf: too few pairs)."""

    middle: float
    low: float
    high: float


def signs(above: int, pairs: int) -> float:
    """Log of the evidence of ``above`` of ``pairs`` differences being above."""
    share = math.lgamma(above + 0.5) + math.lgamma(pairs - above + 0.5) - math.lgamma(pairs + 1) - math.log(math.pi)
    return pairs * math.log(2) + share


def middle(differences: Floats) -> float:
    """Hodges and Lehmann's estimate (Ann. Math. Stat. 34, 1963): the median of the means of any two differences."""
    return float(np.median(((differences[:, None] + differences) / 2)[np.triu_indices(len(differences))]))


def confidence_interval(differences: Floats, alpha: float) -> ConfidenceInterval:
    """The interval of the difference that holds at all times at once with probability 1 - alpha."""
    (mean_low, mean_high), (low, high) = by_mean(differences, alpha / 2), by_signs(differences, alpha / 2)
    both = max(low, mean_low), min(high, mean_high)
    low, high = both if both[0] <= both[1] else (low, high)  # signs hold for more kinds of noise
    return ConfidenceInterval(middle(differences), low, high)


def by_mean(differences: Floats, alpha: float) -> tuple[float, float]:
    """The interval that Student's evidence leaves."""
    limit = critical(len(differences), alpha)
    if math.isinf(limit):
        return -math.inf, math.inf
    mean, spread = float(np.mean(differences)), float(np.std(differences, ddof=1))
    reach = limit * max(spread, SMALLEST_SCALE) / math.sqrt(len(differences))
    return mean - reach, mean + reach


def by_signs(differences: Floats, alpha: float) -> tuple[float, float]:
    """The interval that the signs leave: from one order statistic to another."""
    ordered, pairs = np.sort(differences), len(differences)
    few = [above for above in range(pairs // 2) if signs(above, pairs) >= -math.log(alpha)]
    return (float(ordered[few[-1]]), float(ordered[-1 - few[-1]])) if few else (-math.inf, math.inf)


def critical(pairs: int, alpha: float) -> float:
    """The |t| of ``pairs`` differences at which Student's evidence is 1/alpha; inf where it can never be."""
    if pairs < 2:
        return math.inf
    share = PRIOR / (pairs + PRIOR)
    growth = math.exp(-2 / pairs * (math.log(alpha) + math.log(share) / 2))
    return math.sqrt((pairs - 1) * (growth - 1) / (1 - share * growth)) if share * growth < 1 else math.inf


def pairs_needed(spread: float, effect: float, alpha: float, most: int = 1000) -> int | None:
    """About how many pairs it takes to see a log difference ``effect`` in four of five tests; None: more than ``most``.

    ``spread``: standard deviation of a pair's difference.
    """
    for pairs in range(3, most + 1):
        reach = (critical(pairs, alpha / 2) + 0.84) * max(spread, SMALLEST_SCALE) / math.sqrt(pairs)
        if reach <= effect:
            return pairs
    return None
