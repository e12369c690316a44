"""What the points of ``search=knee`` say: the latency of an idle server, the throughput of bursts, and the knee.

The knee is the rate c at which a mean latency L is ``factor`` times L0, that of a server with one request at a time.
Near it, the logarithm of the excess L - L0 is nearly a line over the logarithm of the rate x, as waits in a queue are:

    log((L - L0) / ((factor - 1) L0)) = b (x - log c)

It is fitted like a limit on a mean (``limit_fit``). The error of L0 shifts the place by factor / (factor - 1) / b times
the relative error of L0, whatever the probes say. The interval has both parts, and one percent for what the line leaves
out: the speed of a server differs from run to run, and the curve bends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from benchhydra.points import Outcome
from benchhydra.search.limit_fit import (
    CONFIDENCE,
    NORMAL,
    START_TO_START,
    LimitEvidence,
    LimitFit,
    Side,
    fit_limit,
    grid_over,
)
from benchhydra.search.probe_faults import is_beyond_limit
from benchhydra.search.saturation import BurstRun, burst_of

RATE, IN_FLIGHT = "qps", "load.max_in_flight"
#: Fewest probes behind a precise answer, and fewest of them that are near the knee and measured a steady state.
LEAST_PROBES, LEAST_NEAR = 3, 2
#: An excess below or above these multiples of that at the knee says only a side: the curve is not a line so far away.
LEAST_EXCESS, MOST_EXCESS = 0.3, 3.0
#: Probes whose excess is within this factor of that at the knee tell how many requests one more needs.
NEAR = 2.0
#: So many standard errors above ``MOST_EXCESS`` are above it.
SURE = 3.0
#: The relative variance of the excess of one request, where no probe near the knee has told.
USUAL_VARIANCE = 100.0
#: With so many independent requests, half of them count: short runs underestimate how long latencies are correlated,
#: and begin with an empty server.
FEW_SAMPLES = 200.0


@dataclass(frozen=True, kw_only=True)
class MeanLatency:
    """A mean latency in ms, the number of requests behind it, and the relative variance of the mean."""

    outcome: Outcome
    mean_ms: float
    requests: int
    variance: float


@dataclass(frozen=True, kw_only=True)
class RateProbe:
    """A load at a rate. latency: None if the server was overloaded and has none.

    side: ``beyond`` if the point says no more than that (overloaded, or ended early, far above its limit).
    """

    outcome: Outcome
    rate: float
    requests: int
    latency: MeanLatency | None
    side: Side = ""


@dataclass(frozen=True, kw_only=True)
class KneePlace:
    """The knee in log(rate), the ends of its 95 % interval, and the part of its standard error due to L0."""

    x: float
    low: float
    high: float
    base_error: float

    @property
    def half_width(self) -> float:
        """Half of the interval, relative to the knee."""
        return (math.exp(self.high) - math.exp(self.low)) / 2 / math.exp(self.x)


@dataclass(kw_only=True)
class KneeEvidence:
    """All points of a study. metric: a mean latency; factor: of that of the idle server, at the knee."""

    metric: str
    factor: float
    idle: list[MeanLatency] = field(default_factory=list)
    bursts: list[BurstRun] = field(default_factory=list)
    probes: list[RateProbe] = field(default_factory=list)
    unusable: list[Outcome] = field(default_factory=list)

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], metric: str, factor: float) -> KneeEvidence:
        """Return what outcomes say; those without a figure are ``unusable``."""
        evidence = cls(metric=metric, factor=factor)
        for outcome in outcomes:
            evidence._add(outcome)
        return evidence

    def _add(self, outcome: Outcome) -> None:
        rate = float(outcome.override(RATE) or "nan")
        latency = _latency(outcome, self.metric)
        if math.isinf(rate) and outcome.override(IN_FLIGHT) == "1":
            if latency is not None and outcome.believable:
                self.idle.append(latency)
                return
        elif math.isinf(rate):
            if (burst := burst_of(outcome)) is not None:
                self.bursts.append(burst)
                return
        elif math.isfinite(rate) and (probe := _probe(outcome, rate, latency)) is not None:
            self.probes.append(probe)
            return
        self.unusable.append(outcome)

    @cached_property
    def base(self) -> tuple[float, float]:
        """(mean latency of the idle server in ms, its relative variance) over all its points; it needs one."""
        counts = np.array([each.requests for each in self.idle], dtype=np.float64)
        parts = counts / counts.sum()
        mean_ms = float(parts @ [each.mean_ms for each in self.idle])
        return mean_ms, float(parts**2 @ [each.variance for each in self.idle])

    @property
    def bound_ms(self) -> float:
        """The latency at the knee."""
        return self.factor * self.base[0]

    @cached_property
    def limits(self) -> list[LimitEvidence]:
        """What each probe says: its excess relative to that at the knee, or only a side."""
        return [self._limit(probe) for probe in self.probes]

    @cached_property
    def fit(self) -> LimitFit | None:
        """The fit of the knee, without the error of the idle latency; None without a probe or an idle point."""
        return fit_limit(self.limits, None, grid_over(self.limits)) if self.probes and self.idle else None

    @cached_property
    def place(self) -> KneePlace | None:
        """The knee; None before there is a fit."""
        if self.fit is None:
            return None
        x, low, high = (self.fit.quantile(each) for each in (0.5, (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
        base_error = self.factor / (self.factor - 1) / self.fit.slope * math.sqrt(self.base[1])
        below, above = (math.hypot(each, NORMAL * base_error, NORMAL * START_TO_START) for each in (x - low, high - x))
        return KneePlace(x=x, low=x - below, high=x + above, base_error=base_error)

    @property
    def met(self) -> list[float]:
        """Rates that were below the knee, by the figures of the point alone."""
        return [probe.rate for probe, limit in zip(self.probes, self.limits, strict=True) if is_met(limit)]

    @property
    def missed(self) -> list[float]:
        """Rates that were above the knee."""
        return [probe.rate for probe, limit in zip(self.probes, self.limits, strict=True) if not is_met(limit)]

    @property
    def is_bracketed(self) -> bool:
        """Whether some probe was below the knee and some other above it."""
        return bool(self.met and self.missed)

    def is_precise(self, precision: float) -> bool:
        """Whether the interval is narrow enough, and both sides of the knee were seen."""
        enough = len(self.probes) >= LEAST_PROBES and len(self._near()) >= LEAST_NEAR and self.is_bracketed
        return enough and self.place is not None and self.place.half_width <= precision

    def requests_for(self, error: float) -> int:
        """Requests of one more probe near the knee that brings the standard error of log(rate) to ``error``."""
        if self.fit is None or self.place is None:
            return 0
        near = self._near()
        variance = float(np.median([requests / limit.samples for requests, limit in near])) if near else USUAL_VARIANCE
        present = (self.fit.quantile((1 + CONFIDENCE) / 2) - self.fit.quantile((1 - CONFIDENCE) / 2)) / 2 / NORMAL
        return math.ceil(max(0.0, 1 / error**2 - 1 / present**2) * variance / self.fit.slope**2)

    def _near(self) -> list[tuple[int, LimitEvidence]]:
        """(number of requests, evidence) of the probes near the knee that measured a steady state."""
        pairs = zip(self.probes, self.limits, strict=True)
        return [(probe.requests, limit) for probe, limit in pairs if not limit.side and 1 / NEAR < limit.ratio < NEAR]

    def _limit(self, probe: RateProbe) -> LimitEvidence:
        target_ms = self.bound_ms - self.base[0]
        if probe.latency is None:
            return LimitEvidence(math.log(probe.rate), 1.0, 1.0, "beyond")
        excess_ms = probe.latency.mean_ms - self.base[0]
        error_ms = math.sqrt(probe.latency.variance) * probe.latency.mean_ms
        side = probe.side
        if not side and excess_ms < LEAST_EXCESS * target_ms and error_ms < LEAST_EXCESS * target_ms:
            side = "within"
        elif not side and excess_ms - SURE * error_ms > MOST_EXCESS * target_ms:
            side = "beyond"
        counted_ms = max(excess_ms, LEAST_EXCESS * target_ms)
        samples = (counted_ms / error_ms) ** 2
        reliable = samples**2 / (samples + FEW_SAMPLES)
        return LimitEvidence(math.log(probe.rate), counted_ms / target_ms, reliable, side)


def is_met(limit: LimitEvidence) -> bool:
    """Whether a probe alone is below the knee."""
    return limit.side == "within" or (not limit.side and limit.ratio <= 1)


def _latency(outcome: Outcome, metric: str) -> MeanLatency | None:
    """The mean latency of the steady part of a point, whose limit in ``slo`` may be any number; None if unknown."""
    ratio, limit, samples = (outcome.metrics.get(f"slo_{name}_{metric}", 0.0) for name in ("ratio", "limit", "samples"))
    requests = int(outcome.metrics.get("completed", 0))
    if min(ratio, limit, samples, requests) <= 0:
        return None
    return MeanLatency(outcome=outcome, mean_ms=ratio * limit, requests=requests, variance=1 / samples)


def _probe(outcome: Outcome, rate: float, latency: MeanLatency | None) -> RateProbe | None:
    """What an outcome at a rate says; None if it is no measurement of the server."""
    is_overload, decision = is_beyond_limit(outcome), outcome.metrics.get("slo_decision")
    if not is_overload and (latency is None or not outcome.believable):
        return None
    side: Side = "beyond" if is_overload or decision == 0 else ""
    requests = int(outcome.metrics.get("completed", 0) + outcome.metrics.get("failed", 0))
    return RateProbe(outcome=outcome, rate=rate, requests=requests, latency=latency, side=side)
