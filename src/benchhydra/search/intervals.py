"""How certain the mean of a few repeats is: 95 % t-intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """(mean, half-width of its 95 % t-interval); None for fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.stats import t  # 0.4 s to import, and most sweeps have no repeats

    half_width = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), half_width


def narrow_enough(values: Sequence[float], fraction: float) -> bool:
    """Whether the 95 % interval's half-width is at most this fraction of the mean."""
    interval = t_interval(values)
    return interval is not None and interval[1] <= fraction * abs(interval[0])
