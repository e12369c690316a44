"""Two samples of repeated runs, compared robustly. Arrays (..., runs) in; results have the leading shape.

Everything works on logarithms of a metric, so a difference is a ratio and swapping the sides flips a sign. The unit of
evidence is the run, never the request. Location is Huber's M-estimator with a known scale; the scale is pooled over all
groups of runs that share a level (baseline, candidate, each stable segment of history), from residuals clipped at 3.5
scales, so that one outlier moves neither far. Outlier runs are removed before (outliers.py).
Sources: Huber, Robust Statistics (1981), ch. 3 and 6; Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004), for moderated
variances.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchhydra.analysis.stats import Floats

#: Huber's k: residuals beyond 1.5 scales pull with a constant force. Keeps 96.4 % of the mean's efficiency.
LOCATION_CLIP = 1.5
LOCATION_EFFICIENCY = 0.964
#: Residuals are clipped at 3.5 scales for the scale, and what that removes from a normal sample is put back.
SCALE_CLIP = 3.5
#: Degrees of freedom of a clipped scale, as a fraction of those of a standard deviation: it is a little less certain.
SCALE_EFFICIENCY = 0.95
#: The smallest scale of the log that is believed: it keeps a constant metric (a count) from dividing by zero.
SMALLEST_SCALE = 1e-4
#: A prior lends what runs lack of so many degrees of freedom: runs that have them need no other metric's.
ENOUGH_FREEDOM = 40.0
#: A prior counts as no more than so many times a scale's own estimate: one quiet metric among very noisy ones would
#: otherwise have their noise, and no change of it would be found.
LARGEST_RAISE = 3.0


class VariancePrior(NamedTuple):
    """What other points or other metrics on the same machine say about a scale: a value, or arrays of its shape."""

    scale: float | Floats
    freedom: float | Floats


class ChangeEvidence(NamedTuple):
    """A difference of two log locations. Arrays have the leading shape of the samples."""

    difference: Floats  # log(candidate / base)
    error: Floats  # its standard error
    freedom: float | Floats
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


_CLIPPED_VARIANCE = _clipped_variance(SCALE_CLIP)


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
    """Degrees of freedom of a scale that groups share: the runs beyond the first of each group."""
    return sum(int(group.shape[-1]) for group in groups) - len(groups)


def scale(groups: Sequence[Floats], prior: VariancePrior | None = None, iterations: int = 6) -> Floats:
    """Run-to-run scale shared by groups (..., n_i), each with a level of its own.

    Raises ValueError where every group is a single run and there is no prior.
    """
    degrees = freedom(groups)
    if degrees < 1:
        if prior is None:
            raise ValueError("no scale from one run a group without a prior")
        return np.broadcast_to(np.asarray(prior.scale), groups[0].shape[:-1])
    residuals = np.concatenate([g - np.median(g, axis=-1, keepdims=True) for g in groups], axis=-1)
    estimate = np.maximum(rough_scale(residuals, degrees), SMALLEST_SCALE)
    for _ in range(iterations):
        residuals = np.concatenate([g - location(g, estimate, 2)[..., None] for g in groups], axis=-1)
        reach = SCALE_CLIP * estimate[..., None]
        squares = (np.clip(residuals, -reach, reach) ** 2).sum(axis=-1)
        estimate = np.maximum(np.sqrt(squares / (_CLIPPED_VARIANCE * degrees)), SMALLEST_SCALE)
    return np.asarray(estimate) if prior is None else _moderated(estimate, SCALE_EFFICIENCY * degrees, prior)


def lent_by(prior: VariancePrior | None, groups: Sequence[Floats]) -> VariancePrior | None:
    """The prior with no more freedom than the groups lack of ``ENOUGH_FREEDOM``."""
    if prior is None:
        return None
    return VariancePrior(prior.scale, np.minimum(prior.freedom, max(0.0, ENOUGH_FREEDOM - freedom(groups))))


def _moderated(estimate: Floats, degrees: float, prior: VariancePrior) -> Floats:
    """A scale and its prior, weighted by their degrees of freedom (Smyth), the prior at most ``LARGEST_RAISE``."""
    lent_scale = np.minimum(prior.scale, LARGEST_RAISE * estimate)
    squares = prior.freedom * lent_scale**2 + degrees * estimate**2
    return np.asarray(np.sqrt(squares / (prior.freedom + degrees)))


def rough_scale(residuals: Floats, degrees: int) -> Floats:
    """A scale that outliers do not spoil: the median absolute residual, or their mean where the median is 0.

    It is 0 where most residuals are: in groups of two, one of them is the median.
    """
    count = residuals.shape[-1]
    by_median = 1.4826 * np.median(np.abs(residuals), axis=-1)
    by_mean = 1.2533 * np.mean(np.abs(residuals), axis=-1)
    return np.asarray(np.where(by_median > 0, by_median, by_mean) * math.sqrt(count / degrees))


def compare_samples(
    base: Floats, candidate: Floats, others: Sequence[Floats] = (), prior: VariancePrior | None = None
) -> ChangeEvidence:
    """Evidence that candidate (..., m) differs from base (..., n), both logs. Of ``others`` only the scale is used."""
    groups = [base, candidate, *others]
    prior = lent_by(prior, groups)
    shared_scale = scale(groups, prior)
    difference = location(candidate, shared_scale) - location(base, shared_scale)
    inverse_runs = 1 / base.shape[-1] + 1 / candidate.shape[-1]
    error = shared_scale * math.sqrt(inverse_runs / LOCATION_EFFICIENCY)
    degrees = np.asarray(SCALE_EFFICIENCY * freedom(groups) + (prior.freedom if prior else 0.0))
    return ChangeEvidence(difference, error, degrees, shared_scale)
