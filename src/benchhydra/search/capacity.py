"""The highest load at which a server meets its service level objective, with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from benchhydra.errors import ConfigError
from benchhydra.points import Outcome, PlannedPoint
from benchhydra.registry import check_choices, knob, option
from benchhydra.search import Answer, Overrides, Search
from benchhydra.search.capacity_answer import UNITS, capacity_answer
from benchhydra.search.load_evidence import IN_FLIGHT, RATE, Evidence

#: The burst whose throughput tells where to begin, if no rate is given; the first number of requests in flight.
BURST_REQUESTS, FIRST_IN_FLIGHT = 100, 8
#: The first probe after a burst, as a fraction of the burst's throughput.
BELOW_SATURATION = 0.8
#: Without a bracket, the next probe is so much higher or lower than the last one, at least and at most.
UP, DOWN = (1.3, 2.0), (0.75, 0.4)
#: Near the limit, a probe on the side that was not seen yet is at least so much higher, or lower, than all before.
OTHER_SIDE = 1.02
#: With a half width above this, relative to the estimate, an emulated queue tells better where the limit is.
UNSURE = 0.25
#: Fewest requests of a probe near the limit: in shorter ones most requests still see the empty server of the start.
NEAR_REQUESTS = 1000
#: A probe may have so many times the requests of the longest before it.
GROWTH = 5
#: The offsets of the probes near the limit, in log(load): they are spread, because the slope is unknown too.
OFFSETS = (0.0, 0.03, -0.03)


@option("search", "capacity")
class Capacity(Search):
    """The highest rate, or number of requests in flight, at which all limits of slo are met."""

    over: str = knob(
        RATE,
        "what is searched: the offered rate, or the requests in flight of a closed loop",
        choices=(RATE, IN_FLIGHT),
    )
    precision: float = knob(
        0.05, "half width of the 95 % interval, relative to the answer, at which the search ends", unit="fraction"
    )
    max_probes: int = knob(15, "most points that the search adds; it then answers with what it knows", unit="points")
    min_requests: int = knob(300, "fewest requests of a probe", unit="requests")
    max_requests: int = knob(50_000, "most requests of a probe", unit="requests")
    max_probe_s: float = knob(900.0, "longest load of a probe, at its rate", unit="s")
    stop_when_decided: bool = knob(True, "a probe ends early as soon as it is sure whether slo is met")

    finds_limits = True
    needs_slo = True

    def __post_init__(self) -> None:
        check_choices(self)
        for name, least in (("max_probes", 3), ("min_requests", 50), ("max_requests", 50)):
            if isinstance(getattr(self, name), int) and getattr(self, name) < least:
                raise ConfigError(f"search.{name}={getattr(self, name)} must be at least {least}")
        if isinstance(self.precision, float) and not 0.001 <= self.precision < 1:
            raise ConfigError(
                f"search.precision={self.precision:g} must be between 0.001 and 1", hint="search.precision=0.05"
            )
        most, fewest = self.max_requests, self.min_requests
        if isinstance(most, int) and isinstance(fewest, int) and most < fewest:
            raise ConfigError(f"search.max_requests={most} must be at least search.min_requests={fewest}")
        if isinstance(self.max_probe_s, float) and not self.max_probe_s > 0:
            raise ConfigError(f"search.max_probe_s={self.max_probe_s:g} must be above 0")
        if isinstance(self.max_probes, int) and isinstance(self.max_points, int):
            self.max_points = min(self.max_points, self.max_probes)
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
        return [self._overrides(load, requests, seed=_seed(points[0]) + len(outcomes))]

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

        It is the estimate, or the rate at which an emulated queue meets the limits as long as the estimate is unsure.
        As long as all probes were on one side, it is on the other side.
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


def _seed(point: PlannedPoint) -> int:
    """The seed that a planned point was given; probes count on from it, so that each has arrivals of its own."""
    values = [override.partition("=")[2] for override in point.overrides if override.lstrip("+").startswith("seed=")]
    return int(values[-1]) if values and values[-1].isdecimal() else 0
