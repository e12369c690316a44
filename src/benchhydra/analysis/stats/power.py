"""Statistical power: which change a test of so many runs finds, and how many runs or pairs it takes to find one."""

from __future__ import annotations

import math

from benchhydra.analysis.stats import sequential
from benchhydra.analysis.stats.robust import LOCATION_EFFICIENCY, SMALLEST_SCALE
from benchhydra.analysis.stats.student_t import quantile

#: A test that finds a change in four of five cases.
POWER = 0.8
#: The standard normal below which ``POWER`` lies.
POWER_QUANTILE = 0.84


def detectable_change(error: float, degrees: float, alpha: float) -> float:
    """The smallest true ratio - 1 that a one-sided t test at ``alpha`` finds with ``POWER``."""
    return math.expm1(error * (quantile(1 - alpha, degrees) + quantile(POWER, degrees)))


def repeats_needed(scale: float, effect: float, alpha: float, most: int = 1000) -> int | None:
    """How many runs a side it takes to find a log difference ``effect`` with ``POWER``; None: more than ``most``.

    ``scale``: standard deviation of a run.
    """
    for repeats in range(2, most + 1):
        error = max(scale, SMALLEST_SCALE) * math.sqrt(2 / repeats / LOCATION_EFFICIENCY)
        if error * (quantile(1 - alpha, 2 * repeats - 2) + POWER_QUANTILE) <= effect:
            return repeats
    return None


def pairs_needed(scale: float, effect: float, alpha: float, most: int = 1000) -> int | None:
    """About how many pairs it takes to find a log difference ``effect`` with ``POWER``; None: more than ``most``.

    ``scale``: standard deviation of a pair's difference.
    """
    for pairs in range(3, most + 1):
        limit = sequential.critical_t(pairs, alpha / 2) + POWER_QUANTILE
        if limit * max(scale, SMALLEST_SCALE) / math.sqrt(pairs) <= effect:
            return pairs
    return None
