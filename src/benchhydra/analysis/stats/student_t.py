"""Student's t distribution. scipy is imported when it is first needed: that takes 0.2 s."""

from __future__ import annotations

import numpy as np

from benchhydra.analysis.stats import Floats


def upper_tail(t: Floats, degrees: float | Floats) -> Floats:
    """P(T > t)."""
    from scipy.special import stdtr  # start-up time: comparisons with enough evidence need it, other commands do not

    return np.asarray(stdtr(degrees, -np.asarray(t)))


def quantile(probability: float, degrees: float) -> float:
    """The t below which ``probability`` lies."""
    from scipy.special import stdtrit  # start-up time, as above

    return float(stdtrit(degrees, probability))
