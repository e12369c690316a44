"""The rate at which a mean latency leaves the flat part of its curve, and the throughput at saturation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from benchhydra.errors import ConfigError
from benchhydra.points import Outcome, PlannedPoint
from benchhydra.registry import knob, option
from benchhydra.search import Answer, Overrides
from benchhydra.search.knee_answer import UNIT, knee_answer
from benchhydra.search.knee_evidence import IN_FLIGHT, RATE, KneeEvidence
from benchhydra.search.limit_fit import NORMAL, START_TO_START
from benchhydra.search.probing import ProbingSearch, next_seed
from benchhydra.search.saturation import next_burst

#: A limit in ms that every load meets: with it, a point has the certainty of its mean latency.
NO_LIMIT_MS = 1e6
#: The first probe, as a fraction of the throughput of the largest burst.
BELOW_SATURATION = 0.7
#: Without a bracket, the next probe is so much higher or lower than the last one, at least and at most.
UP, DOWN = (1.15, 1.6), (0.8, 0.5)
#: No probe is above this multiple of the throughput at saturation.
BEYOND_SATURATION = 1.05
#: A point may have so many times the requests of the longest of its kind before it.
GROWTH = 5
#: The offsets of the probes near the knee, in log(rate): they are spread, because the slope is unknown too.
OFFSETS = (0.0, 0.04, -0.04)
#: Points are sized for a half width of this fraction of the precision.
MARGIN = 0.9


@option("search", "knee")
class Knee(ProbingSearch):
    """The rate at which a mean latency is ``factor`` times that of an idle server, and the throughput at saturation."""

    metric: str = knob(
        "mean_e2el_ms",
        "the latency",
        choices=("mean_e2el_ms", "mean_ttft_ms", "mean_tpot_ms", "mean_itl_ms"),
    )
    factor: float = knob(1.25, "the latency at the knee, relative to that with one request at a time")
    max_probes: int = knob(30, "most points that the search adds; it then answers with what it knows", unit="points")
    idle_requests: int = knob(100, "fewest requests that are sent one at a time", unit="requests")

    needs_open_loop = True
    least = MappingProxyType({"max_probes": 10, "idle_requests": 20, "min_requests": 50, "max_requests": 400})

    def __post_init__(self) -> None:
        if isinstance(self.factor, float) and not 1.01 <= self.factor <= 100:
            raise ConfigError(f"search.factor={self.factor:g} must be between 1.01 and 100", hint="search.factor=1.25")
        self._start: float | None = None
        super().__post_init__()

    @property
    def varies(self) -> tuple[str, ...]:
        return (RATE, "num_prompts", "seed", IN_FLIGHT, self._limit_key, "load.stop_when_decided")

    @property
    def _limit_key(self) -> str:
        return f"slo.{self.metric}"

    def first_point(self, keys: AbstractSet[str]) -> Overrides:
        own = sorted(key for key in keys if key.startswith("slo.") or key in (IN_FLIGHT, "load.stop_when_decided"))
        if own:
            raise ConfigError(f"search=knee sets {own[0]} itself", hint=f"leave {own[0]}=... out")
        limit = f"{self._limit_key}={NO_LIMIT_MS:g}"
        return (limit,) if RATE in keys else self._idle_point(self.idle_requests)

    def use_history(self, answers: Sequence[Answer]) -> None:
        values = [answer.value for answer in answers if answer.unit == UNIT]
        self._start = values[0] if values else None

    def progress_words(self, outcomes: Sequence[Outcome]) -> str:
        place = KneeEvidence.of(outcomes, self.metric, self.factor).place
        return f"between {math.exp(place.low):.4g} and {math.exp(place.high):.4g} {UNIT}" if place else ""

    def next(self, points: Sequence[PlannedPoint], outcomes: Sequence[Outcome]) -> Sequence[Overrides]:
        if len(outcomes) - len(points) >= self.max_points:
            return ()
        evidence = KneeEvidence.of(outcomes, self.metric, self.factor)
        overrides = self._next_point(evidence)
        return [(*overrides, f"seed={next_seed(points, outcomes)}")] if overrides else ()

    def answer(self, outcomes: Sequence[Outcome]) -> Answer | None:
        return knee_answer(KneeEvidence.of(outcomes, self.metric, self.factor), self.precision)

    def _next_point(self, evidence: KneeEvidence) -> Overrides:
        """The next point of any kind: the idle server, then bursts, then probes at rates; none if all are done.

        A kind of which a point has no figures is not tried again.
        """
        if not evidence.idle:
            return self._idle_point(self.idle_requests) if not evidence.unusable else ()
        burst = next_burst(evidence.bursts, self.precision, self.max_requests, self.max_probe_s)
        if burst is not None and not any(outcome.override(RATE) == "inf" for outcome in evidence.unusable):
            return (f"{RATE}=inf", f"{IN_FLIGHT}=null", f"num_prompts={burst}")
        if evidence.is_precise(self.precision) or any(outcome.override(RATE) != "inf" for outcome in evidence.unusable):
            return ()
        return self._next_idle_point(evidence) or self._next_probe(evidence)

    def _next_idle_point(self, evidence: KneeEvidence) -> Overrides:
        """More requests one at a time, if the idle latency is the main cause of the interval's width; else none."""
        place = evidence.place
        allowed = self._error / math.sqrt(2)
        if place is None or not evidence.is_bracketed or place.base_error <= allowed:
            return ()
        present = sum(each.requests for each in evidence.idle)
        most = min(self.max_requests, math.floor(self.max_probe_s * 1e3 / evidence.base[0]), (GROWTH - 1) * present)
        wanted = math.ceil(present * ((place.base_error / allowed) ** 2 - 1))
        return self._idle_point(min(wanted, most)) if most >= self.idle_requests else ()

    def _next_probe(self, evidence: KneeEvidence) -> Overrides:
        """The next probe at a rate; none if nothing tells where to begin."""
        most_rate = BEYOND_SATURATION * max((burst.throughput for burst in evidence.bursts), default=math.inf)
        place, met, missed = evidence.place, evidence.met, evidence.missed
        if place is None:
            start = BELOW_SATURATION * most_rate if self._start is None else self._start
            return () if math.isinf(start) else self._probe(evidence, min(start, most_rate), self.min_requests)
        knee = math.exp(place.x)
        if not missed:
            rate = min(max(knee, UP[0] * max(met)), UP[1] * max(met))
            return self._probe(evidence, min(rate, max(most_rate, UP[0] * max(met))), self.min_requests)
        if not met:
            rate = max(min(knee, DOWN[0] * min(missed)), DOWN[1] * min(missed))
            return self._probe(evidence, rate, self.min_requests)
        variance = self._error**2 - place.base_error**2 - START_TO_START**2
        error = math.sqrt(max(variance, self._error**2 / 4))
        longest = max(probe.requests for probe in evidence.probes)
        requests = min(evidence.requests_for(error), GROWTH * max(longest, self.min_requests))
        return self._probe(evidence, knee * math.exp(OFFSETS[len(evidence.probes) % len(OFFSETS)]), requests)

    @property
    def _error(self) -> float:
        """The standard error of log(rate) that points are sized for."""
        return MARGIN * self.precision / NORMAL

    def _idle_point(self, requests: int) -> Overrides:
        return (
            f"{RATE}=inf",
            f"{IN_FLIGHT}=1",
            f"num_prompts={max(requests, self.idle_requests)}",
            f"{self._limit_key}={NO_LIMIT_MS:g}",
        )

    def _probe(self, evidence: KneeEvidence, rate: float, requests: int) -> Overrides:
        """A probe at a rate, within the limits of its length; it ends early if its latency is far from the knee's."""
        most = min(self.max_requests, max(self.min_requests, math.floor(self.max_probe_s * rate)))
        return (
            f"{RATE}={rate:.4g}",
            f"{IN_FLIGHT}=null",
            f"num_prompts={min(max(requests, self.min_requests), most)}",
            f"{self._limit_key}={evidence.bound_ms:.6g}",
            "load.stop_when_decided=true",
        )
