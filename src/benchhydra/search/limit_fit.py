"""Where a limit is just met: a fit over all probes of a search, with the uncertainty of the place.

Each probe says, at a load x (the logarithm of the rate, or of the requests in flight), which fraction q of the requests
was beyond the limit, and how many independent requests n that rests on. With the allowed fraction p and the place c of
the limit, the model is

    logit(fraction beyond) = logit(p) + b (x - c)

which is close for queues near their limit: the chance to wait longer than a given time falls exponentially with the
spare capacity (J. F. C. Kingman, "The single server queue in heavy traffic", 1961). The likelihood of c and b is
computed on a grid: binomial, with n instead of the number of requests, and a prior on b that spans the slopes of
queues from a few to a few hundred requests in parallel. Summed over b, it gives the distribution of c, from which the
estimate and the interval are read. What is far from the limit is weighted down, because the model is local, and counts
only as "beyond" from ``MOST_BEYOND`` times the allowed fraction on. A limit on a mean is fitted in the same way, with
log(mean / bound) = b (x - c) and normal errors.

A probe that the server did not survive in a steady state (overloaded), or that was stopped early, says only on which
side of the limit it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Side = Literal["", "beyond", "within"]

GRID = 700
#: The grid reaches this far below the lowest and above the highest probe.
REACH = 0.7
SLOPES = 30
#: The usual slope b, for fractions and for means, and the standard deviation of its logarithm.
FRACTION_SLOPE, MEAN_SLOPE = (12.0, 0.8), (4.0, 0.9)
#: If probes have slopes from an emulation, their median is the usual one, with this standard deviation.
EMULATED_SPREAD = 0.25
#: The grid of slopes / the usual ones.
SLOPE_ENDS = (1 / 8, 6.0)
#: Probes at this distance from the limit, in x, have the weight exp(-1 / 2). Those further away tell at least the side.
WIDTH, LEAST_WEIGHT = 0.15, 0.15
MOST_BEYOND = 8.0
#: A logarithm of mean / bound counts as no more than this.
MOST_LOG_RATIO = 1.5
#: From one run to the next a server's speed differs by this; it keeps one very long probe from deciding alone.
RUN_TO_RUN = 0.01
#: Its speed differs by this, too, from one start to the next: no number of probes of one server takes it out.
START_TO_START = 0.01
#: How sharply a probe that only says a side excludes the other: log odds per unit of x.
SIDE_SHARPNESS = 100.0
CONFIDENCE = 0.95
#: Quantile of the normal distribution of a 95 % interval.
NORMAL = 1.96


class LimitEvidence(NamedTuple):
    """What a probe says about one limit.

    x: log of the load. ratio: at most 1 if the limit is met; for a fraction, fraction beyond / allowed. samples: number
    of independent values behind it. side: ``beyond`` or ``within`` if the probe says no more than that. slope: b
    near the limit in an emulation, if there is one.
    """

    x: float
    ratio: float
    samples: float
    side: Side = ""
    slope: float | None = None


@dataclass(frozen=True, kw_only=True)
class LimitFit:
    """The distribution of the place of one limit. x: the grid, shape (g,); weights: of (x, slope), shape (g, s)."""

    x: Floats
    weights: Floats
    slopes: Floats
    allowed: float | None

    @property
    def below(self) -> Floats:
        """Probability that the limit lies below each x."""
        return np.asarray(np.cumsum(self.weights.sum(axis=1)))

    @property
    def slope(self) -> float:
        """Mean of b."""
        return float((self.weights.sum(axis=0) * self.slopes).sum())

    def quantile(self, fraction: float) -> float:
        """The x below which the limit lies with this probability."""
        return float(np.interp(fraction, self.below, self.x))

    def ratios(self, x: Floats, fractions: Sequence[float]) -> Floats:
        """Quantiles over the distribution of the modelled ratio at each x, shape (fractions, x)."""
        step = max(1, len(self.x) // 150)
        weights = self.weights[::step].ravel()
        z = self.slopes * (x[:, None, None] - self.x[None, ::step, None])
        ratio = _mean_ratio(z) if self.allowed is None else _fraction(z, self.allowed) / self.allowed
        ratio = ratio.reshape(len(x), -1)
        order = np.argsort(ratio, axis=1)
        cumulated = np.cumsum(weights[order], axis=1) / weights.sum()
        places = [np.minimum((cumulated < each).sum(axis=1), ratio.shape[1] - 1) for each in fractions]
        sorted_ratio = np.take_along_axis(ratio, order, axis=1)
        return np.array([np.take_along_axis(sorted_ratio, place[:, None], axis=1)[:, 0] for place in places])


class Place(NamedTuple):
    """Where the first of several limits is reached: estimate and ends of the interval in x, and which limit it is."""

    x: float
    low: float
    high: float
    limit: int


def grid_over(evidence: Sequence[LimitEvidence]) -> Floats:
    """The grid of places, for the probes of all limits."""
    xs = [each.x for each in evidence]
    return np.linspace(min(xs) - REACH, max(xs) + REACH, GRID)


def fit_limit(evidence: Sequence[LimitEvidence], allowed: float | None, grid: Floats) -> LimitFit:
    """Fit the place of one limit. allowed: the fraction that may lie beyond it; None for a mean."""
    fit = _fit(evidence, allowed, grid, None)
    for _ in range(2):
        fit = _fit(evidence, allowed, grid, fit.quantile(0.5))
    return fit


def first_limit(fits: Sequence[LimitFit]) -> Place:
    """The place where the first of the limits is reached, as if they were independent of one another.

    Its interval holds for another start of the server too.
    """
    grid, within = fits[0].x, np.ones(len(fits[0].x))
    for fit in fits:
        within = within * (1 - fit.below)
    x, low, high = (
        float(np.interp(each, 1 - within, grid)) for each in (0.5, (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    )
    below, above = (math.hypot(each, NORMAL * START_TO_START) for each in (x - low, high - x))
    return Place(x, x - below, x + above, int(np.argmin([fit.quantile(0.5) for fit in fits])))


def _fit(evidence: Sequence[LimitEvidence], allowed: float | None, grid: Floats, center: float | None) -> LimitFit:
    usual, spread = MEAN_SLOPE if allowed is None else FRACTION_SLOPE
    emulated = [each.slope for each in evidence if each.slope is not None and not each.side]
    if emulated:
        usual, spread = float(np.median(emulated)), EMULATED_SPREAD
    factors = np.geomspace(*SLOPE_ENDS, SLOPES)
    # flat in the fraction at a probe, not in the place: a flat slope would win only because it spreads the place
    log_prior = np.log(factors) - np.log(factors) ** 2 / (2 * spread**2)
    log_weights = np.tile(log_prior, (len(grid), 1))
    for each in evidence:
        distance = each.x - grid[:, None]
        if each.side:
            log_weights += -np.logaddexp(0, -SIDE_SHARPNESS * distance * (1 if each.side == "beyond" else -1))
            continue
        weight = 1.0 if center is None else max(LEAST_WEIGHT, np.exp(-(((each.x - center) / WIDTH) ** 2) / 2))
        likelihood = _mean_likelihood if allowed is None else partial(_fraction_likelihood, allowed=allowed)
        log_weights += weight * likelihood(each, factors * usual * distance, slope=usual)
    weights = np.exp(log_weights - log_weights.max())
    return LimitFit(x=grid, weights=weights / weights.sum(), slopes=factors * usual, allowed=allowed)


def _fraction_likelihood(each: LimitEvidence, z: Floats, *, allowed: float, slope: float) -> Floats:
    most = min(MOST_BEYOND * allowed, (1 + allowed) / 2)
    modelled = np.clip(_fraction(z, allowed), 1e-9, most)
    measured = min(each.ratio * allowed, most)
    samples = 1 / (1 / each.samples + allowed * (1 - allowed) * (slope * RUN_TO_RUN) ** 2)
    return np.asarray(samples * (measured * np.log(modelled) + (1 - measured) * np.log1p(-modelled)))


def _mean_likelihood(each: LimitEvidence, z: Floats, *, slope: float) -> Floats:
    measured = np.clip(np.log(max(each.ratio, 1e-9)), -MOST_LOG_RATIO, MOST_LOG_RATIO)
    modelled = np.clip(z, -MOST_LOG_RATIO, MOST_LOG_RATIO)
    return np.asarray(-((measured - modelled) ** 2) / 2 / (1 / each.samples + (slope * RUN_TO_RUN) ** 2))


def _fraction(z: Floats, allowed: float) -> Floats:
    return np.asarray(1 / (1 + (1 - allowed) / allowed * np.exp(-np.clip(z, -50, 50))))


def _mean_ratio(z: Floats) -> Floats:
    return np.asarray(np.exp(np.clip(z, -MOST_LOG_RATIO, MOST_LOG_RATIO)))
