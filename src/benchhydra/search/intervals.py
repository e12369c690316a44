"""95 % t-intervals of the mean of a few repeats."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """(mean, half-width of its 95 % t-interval), in the unit of the values; None for fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.stats import t  # importing it takes 0.4 s, and most sweeps have no repeats

    half_width = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), half_width


def narrow_enough(values: Sequence[float], fraction: float) -> bool:
    """Whether there are two values or more and the interval's half-width is at most this fraction of the mean."""
    interval = mean_interval(values)
    return interval is not None and interval[1] <= fraction * abs(interval[0])
