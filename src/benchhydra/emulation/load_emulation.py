"""What a fitted model of the server makes of the arrivals and lengths of a load, and of many more like them.

Arrivals and lengths are a control variate (S. S. Lavenberg and P. D. Welch, "A perspective on the use of control
variables to increase the efficiency of Monte Carlo simulations", Management Science 27, 1981). Let q be the measured
fraction of requests beyond a limit, e that of the same requests in the fitted model, and E that of very many requests
of the same rate and lengths. Arrivals, lengths and random factors of e and E are drawn alike, so that the mean of E - e
is 0 whatever the model, but for one difference: a load begins with an empty server, and E has none of that start. So
q + (E - e) has the mean of q without the start, and less variance the more alike the model is to the server. Lengths in
an order (short prompts first) are not drawn alike: nothing is adjusted then.

The variance of what is left has three parts: the server's own randomness, which is the variance between computations of
e with other random factors, or between parts of the measured load, whichever is larger; that of E; and that of the mean
length, which E takes from the requests that were measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchhydra.emulation.model_choice import fit_server, fit_server_to_burst
from benchhydra.emulation.server_model import Arrivals, Floats, Latencies

#: Values of requests whose mean is looked at: for each, whether it is beyond a limit, or its latency / the limit.
Values = Callable[[Latencies], Floats]
Rows = npt.NDArray[np.intp]

#: Computations of the measured requests, each with random factors of its own. If they are more requests in all than
#: this, there are fewer of them, but at least two.
REPLICAS, MOST_REPLICATED, MOST_SLOWLY_REPLICATED = 8, 800_000, 160_000
#: Requests of a long run: for the mean at the load's rate, and at other rates; fewer of a model that takes long.
LONG_RUN, SLOW_LONG_RUN = 400_000, 120_000
RATE_RUN, SLOW_RATE_RUN = 60_000, 40_000
#: The first part of a long run is left out: this fraction.
START_FRACTION = 0.02
#: Parts into which a load, and a long run, are divided to estimate variances.
PARTS, LONG_RUN_PARTS = 20, 40
#: The variance is taken to be this much larger, because it is estimated from few parts and replicas.
DOUBT = 1.25
#: If the model explains less than this fraction of the variance between parts, it is not used.
LEAST_EXPLAINED = 0.1
#: Lengths are in an order, and not drawn one by one, if the variance between parts is so many times that of such draws.
LENGTHS_IN_ORDER = 3.0
#: Values that a request lacks although its answer has several tokens (all came in one chunk): at most this fraction.
MOST_LACKING = 0.01
#: Where the slope is less, the limit hardly depends on the rate, and no rate is where it is met.
LEAST_SLOPE = 0.5
#: The change of log(rate) for a slope.
SLOPE_STEP = 0.04
#: Above this fraction of the model's capacity in requests, long runs have no steady state.
HIGHEST_UTILIZATION = 0.99
#: The search for the rate at which a limit is met: runs at most, the precision in the logit, the usual slope, the
#: longest step in log(rate), and the logit beyond which a fraction says no more than a side.
MOST_STEPS, CLOSE, USUAL_SLOPE, LONGEST_STEP, CLIPPED = 12, 0.1, 12.0, 0.4, 5.0


class Adjusted(NamedTuple):
    """A mean that does not depend on the luck of arrivals, and its variance."""

    mean: float
    variance: float


class Crossing(NamedTuple):
    """Where the model meets a limit: the rate in requests/s, and the slope of the logit (of a mean: the logarithm) of
    what is beyond it over log(rate), between this rate and that of the load.
    """

    rate: float
    slope: float


class LimitEmulation(NamedTuple):
    """What the emulation says about one limit. requests: number of values; adjusted: None if it explains too little."""

    adjusted: Adjusted | None
    crossing: Crossing | None
    requests: int


class LoadEmulation:
    """The emulation of one load, with a model that is fitted to it.

    rate: in requests/s; None if all was sent at once. gap_variation: squared coefficient of variation of the times
    between arrivals that the load draws (1: Poisson). seed: of all draws.
    """

    def __init__(
        self, requests: Arrivals, latencies: Latencies, *, rate: float | None, gap_variation: float, seed: int
    ) -> None:
        self.requests, self.latencies, self.rate = requests, latencies, rate
        fit = fit_server if rate is not None else fit_server_to_burst
        self.model = fit(requests, latencies, np.random.default_rng([seed, 0]))
        self._gap_variation, self._seed = gap_variation, seed
        self._limits: dict[str, LimitEmulation] = {}

    @cached_property
    def replicas(self) -> list[Latencies]:
        """Latencies of the measured requests, several times."""
        rng = np.random.default_rng([self._seed, 1])
        most = MOST_SLOWLY_REPLICATED if self.model.is_slow else MOST_REPLICATED
        count = max(2, min(REPLICAS, most // len(self.requests.sent_s)))
        return [self.model.latencies(self.requests, rng) for _ in range(count)]

    @cached_property
    def long_run(self) -> Latencies:
        """Latencies of many requests at the load's rate, in a steady state."""
        assert self.rate is not None
        return self._many(self.rate, SLOW_LONG_RUN if self.model.is_slow else LONG_RUN)

    @cached_property
    def saturation(self) -> float:
        """The rate in requests/s that keeps all slots of the model busy; infinite without a limit."""
        return self.model.saturation(self.requests)

    def limit(self, name: str, allowed: float | None, rows: Rows, values: Values) -> LimitEmulation:
        """What the emulation says about a limit on the mean of values, computed once for each name. rows: the requests
        in the order of sending that count; those whose value is NaN do not.
        """
        if name not in self._limits:
            self._limits[name] = self._limit(allowed, rows, values)
        return self._limits[name]

    def _limit(self, allowed: float | None, rows: Rows, values: Values) -> LimitEmulation:
        measured = values(self.latencies)
        is_lacking = np.isnan(measured[rows])
        is_unlike = is_lacking & (self.requests.output_tokens[rows] > 1)  # the model's requests lack no such value
        rows = rows[~is_lacking]
        if not len(rows) or is_unlike.mean() > MOST_LACKING:
            return LimitEmulation(None, None, len(rows))
        crossing = self._crossing(values, allowed)
        adjusted = None if crossing is None else self._adjusted(measured[rows], rows, values, allowed, crossing.slope)
        return LimitEmulation(adjusted, crossing, len(rows))

    def _adjusted(
        self, measured: Floats, rows: Rows, values: Values, allowed: float | None, slope: float
    ) -> Adjusted | None:
        """The mean of measured values without the luck of arrivals and lengths; None if the model does not explain it.

        measured: values of the requests ``rows``, shape (rows,), in the order of sending.
        """
        if self.rate is None or self.rate > HIGHEST_UTILIZATION * self.saturation or len(rows) < 2 * PARTS:
            return None
        if self._has_lengths_in_order(rows):
            return None
        replicas = np.array([values(latencies)[rows] for latencies in self.replicas])
        emulated = replicas.mean(axis=0)
        left, whole = (_variance_of_mean(each, PARTS) for each in (measured - emulated, measured))
        if left > (1 - LEAST_EXPLAINED) * whole or whole == 0 or emulated.var() == 0:
            return None
        long_run = values(self.long_run)
        own_variance = max(left, float(replicas.mean(axis=1).var(ddof=1)) * (1 + 1 / len(replicas)))
        mean = float(np.nanmean(long_run))
        of_lengths = self._variance_of_lengths(mean, slope, rows, allowed)
        variance = own_variance + _variance_of_mean(long_run, LONG_RUN_PARTS) + of_lengths
        return Adjusted(float(measured.mean() + mean - emulated.mean()), DOUBT * variance)

    def _crossing(self, values: Values, allowed: float | None) -> Crossing | None:
        """Where the mean of values is ``allowed``, or 1 for None.

        None if the model reaches it at no rate near, or if it hardly depends on the rate.
        """
        highest = math.log(HIGHEST_UTILIZATION * self.saturation) if self.saturation < math.inf else math.inf
        x = highest - LONGEST_STEP if self.rate is None else min(math.log(self.rate), highest)
        if x == math.inf:
            return None

        goal = _logit(1.0 if allowed is None else allowed, allowed)

        @cache
        def excess(x: float) -> float:
            return _logit(self._mean_at(x, values), allowed) - goal

        places: list[tuple[float, float]] = []
        for _ in range(MOST_STEPS):
            over = min(max(excess(x), -CLIPPED), CLIPPED)
            if abs(over) < CLOSE:
                slope = self._slope(excess, x)
                return Crossing(math.exp(x), slope) if slope >= LEAST_SLOPE else None
            places.append((x, over))
            x = min(_next_place(places), highest)
        return None

    def _slope(self, excess: Callable[[float], float], x: float) -> float:
        """The slope between the load's rate and the crossing at x, or around it if they are close or the rate is 0."""
        at = math.inf if self.rate is None else math.log(self.rate)
        if SLOPE_STEP < abs(at - x) < LONGEST_STEP and abs(over := excess(at)) < CLIPPED:
            return float((over - excess(x)) / (at - x))
        return float((excess(x + SLOPE_STEP) - excess(x - SLOPE_STEP)) / (2 * SLOPE_STEP))

    def _has_lengths_in_order(self, rows: Rows) -> bool:
        """Whether neighbours have more equal lengths than independent draws: long runs are of such draws."""
        service_s = self.model.expected_s(self.requests)[rows]
        drawn = max(float(service_s.var()), (1e-6 * float(service_s.mean())) ** 2) / len(rows)
        return _variance_of_mean(service_s, PARTS) > LENGTHS_IN_ORDER * drawn

    def _variance_of_lengths(self, mean: float, slope: float, rows: Rows, allowed: float | None) -> float:
        """The variance that the mean length of the measured requests gives to a mean. slope: of its logit."""
        service_s = self.model.expected_s(self.requests)[rows]
        change = slope * mean * (1.0 if allowed is None else 1 - mean)
        return (change * float(service_s.std() / service_s.mean())) ** 2 / len(rows)

    def _mean_at(self, x: float, values: Values) -> float:
        """The mean of values in a steady state at the rate exp(x), always with the same draws."""
        count = SLOW_RATE_RUN if self.model.is_slow else RATE_RUN
        return float(np.nanmean(values(self._many(math.exp(x), count))))

    def _many(self, rate: float, count: int) -> Latencies:
        rng = np.random.default_rng([self._seed, 2])
        shape = 1 / self._gap_variation if self._gap_variation > 0 else math.inf
        gaps = rng.gamma(shape, 1 / shape, count) if shape < math.inf else np.ones(count)
        picked = rng.integers(len(self.requests.sent_s), size=count)
        lengths = self.requests.prompt_tokens[picked], self.requests.output_tokens[picked]
        cut = int(START_FRACTION * count)
        latencies = self.model.latencies(Arrivals(np.cumsum(gaps / rate), *lengths), rng)
        return Latencies(*(column[cut:] for column in latencies))


def _next_place(places: Sequence[tuple[float, float]]) -> float:
    """The next place to look for a zero of a rising function, of which (place, value) are known."""
    below = max((each for each in places if each[1] < 0), default=None)
    above = min((each for each in places if each[1] > 0), default=None)
    if below is None or above is None:
        x, over = places[-1]
        slope = USUAL_SLOPE * 0.5 ** (len(places) - 1)
        return x + min(max(-over / slope, -LONGEST_STEP), LONGEST_STEP)
    fraction = -below[1] / (above[1] - below[1])
    return below[0] + (above[0] - below[0]) * min(max(fraction, 0.1), 0.9)


def _logit(mean: float, allowed: float | None) -> float:
    """The logit of a fraction, or the logarithm of a mean."""
    mean = max(mean, 1e-9)
    return math.log(mean) if allowed is None else math.log(mean / max(1 - mean, 1e-9))


def _variance_of_mean(values: Floats, parts: int) -> float:
    """The variance of the mean of correlated values in order, from the means of parts of equal length."""
    length = len(values) // parts
    means = np.nanmean(values[: length * parts].reshape(parts, length), axis=1)
    return float(means.var(ddof=1)) / parts
