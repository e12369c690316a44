"""How sure a series of paired differences makes, looked at after every pair, with a false-alarm rate that still holds.

The evidence is the Bayes factor of Student's t under a normal prior on the standardised effect (mean 0, variance
1/PRIOR) and the right Haar prior on the scale. Under no difference it is an e-process: its chance of ever exceeding
1/alpha is at most alpha, however often one looks and whenever one stops. The interval is the set of differences that
it does not exclude. Formula: Gönen, Johnson, Lu, Westfall, Am. Stat. 59 (2005); that it may be stopped at will:
Hendriksen, de Heide, Grünwald, Bayesian Analysis 16 (2021); Pérez-Ortiz, Lardy, de Heide, Grünwald, Ann. Stat. 52
(2024). benchmarks/ab_trials.py checks it, with noise that is not normal too.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from benchhydra.analysis.stats import SMALLEST_SCALE, Floats

#: Weight of the prior, in pairs: effects of about two standard deviations of a pair are expected.
PRIOR = 0.25
#: Differences of pairs are twice as variable as runs.
PAIR = math.sqrt(2)


class Interval(NamedTuple):
    """A mean difference of logs and how far its interval reaches to both sides (inf: too few pairs)."""

    mean: float
    reach: float

    @property
    def low(self) -> float:
        return self.mean - self.reach

    @property
    def high(self) -> float:
        return self.mean + self.reach


def critical(pairs: int, alpha: float) -> float:
    """The |t| of ``pairs`` differences at which the evidence is 1/alpha; inf where it can never be."""
    if pairs < 2:
        return math.inf
    share = PRIOR / (pairs + PRIOR)
    growth = math.exp(-2 / pairs * (math.log(alpha) + math.log(share) / 2))
    return math.sqrt((pairs - 1) * (growth - 1) / (1 - share * growth)) if share * growth < 1 else math.inf


def interval(differences: Floats, alpha: float) -> Interval:
    """The interval of the mean that holds at all times at once with probability 1 - alpha."""
    count = len(differences)
    mean = float(np.mean(differences))
    limit = critical(count, alpha)
    if math.isinf(limit):
        return Interval(mean, math.inf)
    spread = max(float(np.std(differences, ddof=1)), SMALLEST_SCALE)
    return Interval(mean, limit * spread / math.sqrt(count))


def pairs_needed(spread: float, effect: float, alpha: float, most: int = 1000) -> int | None:
    """About how many pairs it takes to see a log difference ``effect`` in four of five tests; None: more than ``most``.

    ``spread``: standard deviation of a pair's difference.
    """
    for pairs in range(3, most + 1):
        if (critical(pairs, alpha) + 0.84) * max(spread, SMALLEST_SCALE) / math.sqrt(pairs) <= effect:
            return pairs
    return None
