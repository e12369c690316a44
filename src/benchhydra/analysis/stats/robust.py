"""Two samples of repeats, robustly: location, scale, evidence. Arrays in, arrays out; the last axis is runs.

Everything works on logarithms of a metric, so a difference is a ratio and swapping sides flips a sign. The unit of
evidence is the run, never the request. Location is Huber's M-estimator with a known scale; the scale is pooled over all
groups of runs that share a level (baseline, candidate, stable stretch of history), from residuals clipped at 3.5
scales, so that one outlier moves neither far. Runs that are odd as a whole are left out before (odd.py).
Sources: Huber, Robust Statistics (1981), ch. 3 and 6; Smyth,
Stat. Appl. Genet. Mol. Biol. 3 (2004), for moderated variances; Holm, Scand. J. Statist. 6 (1979).
How well this holds is simulated in benchmarks/gate_trials.py and written down in docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Huber's k: residuals beyond 1.5 scales pull with a constant force. Keeps 96.4 % of the mean's efficiency.
LOCATION_CLIP = 1.5
LOCATION_EFFICIENCY = 0.964
#: Residuals are clipped at 3.5 scales for the scale, and what that removes from a normal sample is put back.
SCALE_CLIP = 3.5
#: Degrees of freedom kept: a clipped scale is a little less certain than a standard deviation.
SCALE_EFFICIENCY = 0.95
#: No metric repeats more closely than this: it keeps a constant metric (counts) from dividing by zero.
SMALLEST_SCALE = 1e-4


class VariancePrior(NamedTuple):
    """What is known about the scale from elsewhere: other points of the same metric on the same kind of machine."""

    scale: float
    freedom: float


class ChangeEvidence(NamedTuple):
    """A difference of two log locations. Each field has the leading shape of the samples."""

    difference: Floats  # log(candidate / base)
    error: Floats  # its standard error
    freedom: float
    scale: Floats  # run-to-run standard deviation of the log

    @property
    def t(self) -> Floats:
        """The difference in standard errors."""
        return np.asarray(self.difference / self.error)


def _clipped_variance(clip: float) -> float:
    """Variance of a standard normal clipped at +-clip."""
    inside = math.erf(clip / math.sqrt(2))
    density = math.exp(-clip * clip / 2) / math.sqrt(2 * math.pi)
    return inside - 2 * clip * density + clip * clip * (1 - inside)


_SCALE_SHARE = _clipped_variance(SCALE_CLIP)


def location(x: Floats, scale: Floats, iterations: int = 4) -> Floats:
    """Huber's location of samples (..., n) with scales (...), by Newton steps from the median."""
    middle = np.median(x, axis=-1, keepdims=True)
    reach = LOCATION_CLIP * scale[..., None]
    for _ in range(iterations):
        residual = x - middle
        inside = np.mean(np.abs(residual) <= reach, axis=-1, keepdims=True)
        middle = middle + np.clip(residual, -reach, reach).mean(axis=-1, keepdims=True) / np.maximum(inside, 0.3)
    return np.asarray(middle[..., 0])


def freedom(groups: Sequence[Floats]) -> int:
    """Runs beyond the first of each group: what is left to learn a scale from."""
    return sum(int(group.shape[-1]) for group in groups) - len(groups)


def scale(groups: Sequence[Floats], prior: VariancePrior | None = None, iterations: int = 6) -> Floats:
    """Run-to-run scale shared by groups (..., n_i), each with a level of its own. Needs freedom or a prior."""
    left = freedom(groups)
    if left < 1:
        if prior is None:
            raise ValueError("no scale from one run a group without a prior")
        return np.full(groups[0].shape[:-1], prior.scale)
    residuals = np.concatenate([g - np.median(g, axis=-1, keepdims=True) for g in groups], axis=-1)
    found = np.maximum(rough_scale(residuals, left), SMALLEST_SCALE)
    for _ in range(iterations):
        residuals = np.concatenate([g - location(g, found, 2)[..., None] for g in groups], axis=-1)
        reach = SCALE_CLIP * found[..., None]
        squares = (np.clip(residuals, -reach, reach) ** 2).sum(axis=-1)
        found = np.maximum(np.sqrt(squares / (_SCALE_SHARE * left)), SMALLEST_SCALE)
    if prior is None:
        return np.asarray(found)
    kept = SCALE_EFFICIENCY * left
    return np.sqrt((prior.freedom * prior.scale**2 + kept * found**2) / (prior.freedom + kept))


def rough_scale(residuals: Floats, left: int) -> Floats:
    """A scale that outliers do not spoil: MAD, and the mean where most residuals are nought (pairs around a median)."""
    count = residuals.shape[-1]
    mad = 1.4826 * np.median(np.abs(residuals), axis=-1)
    mean = 1.2533 * np.mean(np.abs(residuals), axis=-1)
    return np.asarray(np.where(mad > 0, mad, mean) * math.sqrt(count / left))


def compare_samples(
    base: Floats, candidate: Floats, others: Sequence[Floats] = (), prior: VariancePrior | None = None
) -> ChangeEvidence:
    """Evidence that candidate (..., m) differs from base (..., n), both logs. ``others`` lend only their scale."""
    groups = [base, candidate, *others]
    spread = scale(groups, prior)
    difference = location(candidate, spread) - location(base, spread)
    runs = 1 / base.shape[-1] + 1 / candidate.shape[-1]
    error = spread * math.sqrt(runs / LOCATION_EFFICIENCY)
    known = SCALE_EFFICIENCY * freedom(groups) + (prior.freedom if prior else 0.0)
    return ChangeEvidence(difference, error, known, spread)


def upper_tail(t: Floats, degrees: float) -> Floats:
    """P(T > t) of Student's t."""
    from scipy.special import stdtr

    return np.asarray(stdtr(degrees, -np.asarray(t)))


def quantile(probability: float, degrees: float) -> float:
    """Student's t below which ``probability`` lies."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: reject where one is below the family's error rate."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted = [0.0] * len(p)
    worst = 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = worst
    return adjusted


def detectable(error: float, degrees: float, alpha: float, power: float = 0.8) -> float:
    """The smallest true ratio - 1 that a one-sided test at ``alpha`` finds with ``power``."""
    return math.expm1(error * (quantile(1 - alpha, degrees) + quantile(power, degrees)))
