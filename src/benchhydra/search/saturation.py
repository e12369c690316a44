"""The throughput of a saturated server, from bursts: requests that are sent all at once.

A burst of n requests takes a + n / S seconds, with S the throughput at saturation, and a the time of the start and of
the end, at which slots are empty. S is therefore the inverse of the slope through bursts of different sizes. The
variance of the time grows with n, so that bursts weigh 1 / n; the interval is Student's. It has one percent more: the
speed of a server differs from run to run, and bursts of answers of equal length end in waves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchhydra.points import Outcome
from benchhydra.search.limit_fit import CONFIDENCE, RUN_TO_RUN

#: The names of the figures in an answer.
SATURATION_THROUGHPUT, SATURATION_TOKENS = "saturation_throughput", "saturation_output_throughput"
#: Requests of the first burst, and by what each further one is larger as long as the throughput grows.
FIRST_BURST, GROWTH = 100, 4
#: A larger burst with less than this gain in throughput says that the server is saturated.
SATURATED_GAIN = 1.1
#: Bursts behind the throughput, at least (four degrees of freedom) and at most.
LEAST_BURSTS, MOST_BURSTS = 6, 12


@dataclass(frozen=True, kw_only=True)
class BurstRun:
    """Requests that were sent at once. throughput: in requests/s, until the last answer."""

    outcome: Outcome
    requests: int
    throughput: float

    @property
    def span_s(self) -> float:
        """The time from the first request to the last answer."""
        return self.requests / self.throughput


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """Throughput at saturation in requests/s, and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval, relative to the value."""
        return (self.high - self.low) / 2 / self.value


def burst_of(outcome: Outcome) -> BurstRun | None:
    """Return the burst that an outcome measured; None if it is no measurement."""
    throughput = outcome.metrics.get("request_throughput", 0.0)
    requests = int(outcome.metrics.get("completed", 0))
    if not outcome.believable or requests < 1 or throughput <= 0:
        return None
    return BurstRun(outcome=outcome, requests=requests, throughput=throughput)


def next_burst(bursts: Sequence[BurstRun], precision: float, most_requests: int, longest_s: float) -> int | None:
    """Return the number of requests of the next burst; None if there are enough.

    They grow until the throughput does not. Then the two largest sizes are repeated until the interval's half width is
    at most ``precision``, relative to the throughput. longest_s: of a burst, by the throughput of the last.
    """
    if not bursts:
        return min(FIRST_BURST, most_requests)
    sizes = sorted({burst.requests for burst in bursts})
    larger = GROWTH * sizes[-1]
    is_allowed = larger <= most_requests and larger <= longest_s * bursts[-1].throughput
    if is_allowed and not _is_saturated(bursts, sizes):
        return larger
    saturating = saturating_bursts(bursts)
    saturation = fit_saturation(bursts)
    is_precise = saturation is not None and saturation.half_width <= precision
    if len(sizes) < 2 or is_precise or len(saturating) >= MOST_BURSTS:
        return None
    counts = {size: sum(burst.requests == size for burst in saturating) for size in sizes[-2:]}
    return min(counts, key=lambda size: (counts[size], size))


def saturating_bursts(bursts: Sequence[BurstRun]) -> list[BurstRun]:
    """Return the bursts of the two largest sizes."""
    sizes = sorted({burst.requests for burst in bursts})[-2:]
    return [burst for burst in bursts if burst.requests in sizes]


def fit_saturation(bursts: Sequence[BurstRun]) -> Saturation | None:
    """Return the throughput at saturation; None with fewer than ``LEAST_BURSTS``, or if it has no upper bound."""
    bursts = saturating_bursts(bursts)
    sizes = np.array([burst.requests for burst in bursts], dtype=np.float64)
    if len(bursts) < LEAST_BURSTS or np.ptp(sizes) == 0:
        return None
    from scipy.stats import t  # start-up time: importing it takes 0.4 s

    weights, freedom = 1 / np.sqrt(sizes), len(sizes) - 2
    design = np.column_stack((weights, sizes * weights))
    spans = np.array([burst.span_s for burst in bursts]) * weights
    (start_s, slope), *_ = np.linalg.lstsq(design, spans, rcond=None)
    residuals = spans - design @ (start_s, slope)
    variance = np.linalg.inv(design.T @ design)[1, 1] * float(residuals @ residuals) / freedom
    reach = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.hypot(math.sqrt(variance), RUN_TO_RUN * slope)
    if slope <= reach:
        return None
    return Saturation(value=1 / slope, low=1 / (slope + reach), high=1 / (slope - reach))


def _is_saturated(bursts: Sequence[BurstRun], sizes: Sequence[int]) -> bool:
    """Whether the largest burst had hardly more throughput than the next smaller one."""
    if len(sizes) < 2:
        return False
    smaller, larger = (
        float(np.median([burst.throughput for burst in bursts if burst.requests == size])) for size in sizes[-2:]
    )
    return larger < SATURATED_GAIN * smaller
