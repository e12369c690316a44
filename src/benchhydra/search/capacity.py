"""The highest load at which a server meets its service level objective, with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from benchhydra.points import Outcome, PlannedPoint
from benchhydra.registry import knob, option
from benchhydra.search import Answer, Overrides
from benchhydra.search.capacity_answer import UNITS, capacity_answer
from benchhydra.search.load_evidence import IN_FLIGHT, RATE, Evidence
from benchhydra.search.probing import ProbingSearch, next_seed

#: The burst whose throughput tells where to begin, if no rate is given; the first number of requests in flight.
BURST_REQUESTS, FIRST_IN_FLIGHT = 100, 8
#: The first probe after a burst, as a fraction of the burst's throughput.
BELOW_SATURATION = 0.8
#: Without a bracket, the next probe is so much higher or lower than the last one, at least and at most.
UP, DOWN = (1.3, 2.0), (0.75, 0.4)
#: Near the limit, a probe on the side that was not seen yet is at least so much higher, or lower, than all before.
OTHER_SIDE = 1.02
#: With a half width above this, relative to the estimate, a model of the server tells better where the limit is.
UNSURE = 0.25
#: Fewest requests of a probe near the limit: in shorter ones most requests still see the empty server of the start.
NEAR_REQUESTS = 1000
#: A probe may have so many times the requests of the longest before it.
GROWTH = 5
#: The offsets of the probes near the limit, in log(load): they are spread, because the slope is unknown too.
OFFSETS = (0.0, 0.03, -0.03)


@option("search", "capacity")
class Capacity(ProbingSearch):
    """The highest rate, or number of requests in flight, at which all limits of slo are met."""

    over: str = knob(
        RATE,
        "what is searched: the offered rate, or the requests in flight of a closed loop",
        choices=(RATE, IN_FLIGHT),
    )
    stop_when_decided: bool = knob(True, "a probe ends early as soon as it is sure whether slo is met")

    needs_slo = True
    least = MappingProxyType({"max_probes": 3, "min_requests": 50, "max_requests": 50})

    def __post_init__(self) -> None:
        self._start: float | None = None
        super().__post_init__()

    @property
    def varies(self) -> tuple[str, ...]:
        return (self.over, "num_prompts", "seed", "load.stop_when_decided")

    def first_point(self, keys: AbstractSet[str]) -> Overrides:
        if self.over in keys:
            return ()
        if self.over == IN_FLIGHT:
            return (f"{IN_FLIGHT}={FIRST_IN_FLIGHT}", f"num_prompts={self.min_requests}")
        return (f"{RATE}=inf", f"num_prompts={BURST_REQUESTS}")

    def use_history(self, answers: Sequence[Answer]) -> None:
        values = [answer.value for answer in answers if answer.unit == UNITS[self.over] or self.over == RATE]
        self._start = values[0] if values else None

    def progress_words(self, outcomes: Sequence[Outcome]) -> str:
        evidence = Evidence.of(outcomes, self.over)
        if not evidence.place or not evidence.is_bracketed:
            return ""
        low, high = math.exp(evidence.place.low), math.exp(evidence.place.high)
        return f"between {low:.4g} and {high:.4g} {UNITS[self.over]}"

    def next(self, points: Sequence[PlannedPoint], outcomes: Sequence[Outcome]) -> Sequence[Overrides]:
        evidence = Evidence.of(outcomes, self.over)
        added = len(outcomes) - len(points)
        if added >= self.max_points or evidence.is_precise(self.precision):
            return ()
        plan = self._first_probe(evidence) if evidence.place is None else self._next_probe(evidence)
        if plan is None:
            return ()
        load, requests = plan
        return [self._overrides(load, requests, seed=next_seed(points, outcomes))]

    def answer(self, outcomes: Sequence[Outcome]) -> Answer | None:
        return capacity_answer(Evidence.of(outcomes, self.over), self.precision)

    def _first_probe(self, evidence: Evidence) -> tuple[float, int] | None:
        """(load, requests) of the first probe with a finite load; None if nothing tells where to begin."""
        start = self._start
        if start is None and self.over == RATE and evidence.model_rate is not None:
            return self._allowed(evidence.model_rate, GROWTH * self.min_requests)
        if start is None and evidence.saturation is not None:
            start = BELOW_SATURATION * evidence.saturation
        return None if start is None else self._allowed(start, self.min_requests)

    def _next_probe(self, evidence: Evidence) -> tuple[float, int] | None:
        if evidence.place is None:
            return None
        load, is_near = self._next_load(evidence)
        longest = max(self.min_requests, *(probe.requests for probe in evidence.probes))
        requests = self.min_requests
        if is_near:
            requests = min(max(evidence.requests_for(self.precision), NEAR_REQUESTS), GROWTH * longest)
        return self._allowed(load, requests, evidence)

    def _next_load(self, evidence: Evidence) -> tuple[float, bool]:
        """The load of the next probe, and whether it is thought to be near the limit.

        It is the estimate, or, as long as that is unsure, the rate at which a model of the server meets the limits. As
        long as all probes were on one side, it is on the other side.
        """
        place, met, missed = evidence.place, evidence.met, evidence.missed
        assert place is not None
        is_sure = evidence.half_width < UNSURE
        guess = evidence.model_rate if self.over == RATE and not is_sure else None
        is_near = is_sure or guess is not None or evidence.is_bracketed
        estimate = guess or math.exp(place.x)
        if not missed:
            least, most = (OTHER_SIDE if is_near else UP[0]), UP[1]
            estimate = math.exp(place.high) if is_sure else estimate
            return min(max(estimate, least * max(met)), most * max(met)), is_near
        if not met:
            least, most = (1 / OTHER_SIDE if is_near else DOWN[0]), DOWN[1]
            estimate = math.exp(place.low) if is_sure else estimate
            return max(min(estimate, least * min(missed)), most * min(missed)), is_near
        return estimate * math.exp(OFFSETS[len(evidence.probes) % len(OFFSETS)]), is_near

    def _allowed(self, load: float, requests: int, evidence: Evidence | None = None) -> tuple[float, int] | None:
        """The load as it is typed, and the requests within their limits; None where a closed loop cannot go lower."""
        if self.over == IN_FLIGHT:
            whole = max(1, round(load))
            lowest_missed = evidence is not None and min(evidence.missed, default=2.0) <= 1 and not evidence.met
            return None if lowest_missed else (whole, max(min(requests, self.max_requests), self.min_requests))
        longest = max(1, int(load * self.max_probe_s))
        return float(f"{load:.4g}"), max(min(requests, self.max_requests, longest), min(self.min_requests, longest))

    def _overrides(self, load: float, requests: int, seed: int) -> Overrides:
        stop = str(self.stop_when_decided).lower()
        return (f"{self.over}={load:g}", f"num_prompts={requests}", f"seed={seed}", f"load.stop_when_decided={stop}")
