"""What the probes of a search say about the limits of the service level objective."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchhydra.points import Outcome
from benchhydra.search.limit_fit import (
    NORMAL,
    START_TO_START,
    LimitEvidence,
    LimitFit,
    Place,
    Side,
    first_limit,
    fit_limit,
    grid_over,
)
from benchhydra.search.probe_faults import is_beyond_limit

RATE, IN_FLIGHT = "qps", "load.max_in_flight"
#: Fewest probes behind a precise answer.
LEAST_PROBES = 3
#: A limit is left out if others are missed, and the ratio to this one is below this at every load.
REACHED = 0.5
#: Requests are sized for a half width of this fraction of the precision.
MARGIN = 0.9
#: Probes this near to the limit, in log(load), tell how strongly requests resemble their neighbours there.
NEAR = 0.3
#: A load this near to the rate at which a model meets the limits, in log(load), has tried it.
TRIED = 0.05
#: One request in so many is independent, where no probe near the limit has told.
USUAL_CORRELATION = 20.0
#: With so many independent requests, half of them count: short runs underestimate how long latencies are correlated.
FEW_SAMPLES = 200.0
RATIO = "slo_ratio_"
#: Prefixes of what a model of the server says about a limit (``metrics/slo_emulation.py``).
ADJUSTED_RATIO, ADJUSTED_SAMPLES, SLOPE = "slo_adjusted_ratio_", "slo_adjusted_samples_", "slo_slope_"
MODEL_RATE = "slo_model_rate_"


@dataclass(frozen=True, kw_only=True)
class MeasuredProbe:
    """A point that says something about the limits. limits: what it says of each, by name.

    requests: those that were asked for; sent_requests: fewer if the load was ended early.
    """

    outcome: Outcome
    load: float
    requests: int
    sent_requests: int
    limits: Mapping[str, LimitEvidence]

    @property
    def ratio(self) -> float:
        """The worst of the ratios to the limits."""
        return max(each.ratio for each in self.limits.values())

    @property
    def is_met(self) -> bool:
        """Whether all limits are met, by the figures of this point alone."""
        sides = {each.side for each in self.limits.values()}
        return "within" in sides or ("beyond" not in sides and self.ratio <= 1)

    @property
    def says_only_a_side(self) -> bool:
        """Whether the load was ended early, or the server was overloaded: its figures are of no steady state."""
        return any(each.side for each in self.limits.values())


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What all outcomes of a study say. saturation: throughput of a burst, in requests/s; unusable: INVALID points.

    model_rate: the rate in requests/s at which a model of the server, fitted to the latest point that has one, meets
    all limits; None if a later point tried it.
    """

    key: str
    probes: tuple[MeasuredProbe, ...]
    unusable: tuple[Outcome, ...] = ()
    saturation: float | None = None
    model_rate: float | None = None

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], key: str) -> Evidence:
        """Return what outcomes say about a load that is set by ``key``."""
        probes: list[MeasuredProbe] = []
        unusable: list[Outcome] = []
        saturation: float | None = None
        model_rate: float | None = None
        for outcome in outcomes:
            load = float(outcome.override(key) or "nan")
            model_rate = _model_rate(outcome) or _untried(model_rate, load)
            if outcome.status == "ok" and math.isinf(load):
                saturation = outcome.metrics.get("request_throughput", saturation)
                continue
            probe = _probe(outcome, load) if math.isfinite(load) and load > 0 else None
            if probe is None:
                unusable.append(outcome)
            else:
                probes.append(probe)
        return cls(
            key=key, probes=tuple(probes), unusable=tuple(unusable), saturation=saturation, model_rate=model_rate
        )

    @cached_property
    def limits(self) -> dict[str, float | None]:
        """The allowed fraction of each limit, by name; None for a mean."""
        return {
            name: probe.outcome.metrics.get(f"slo_allowed_{name}") for probe in self.probes for name in probe.limits
        }

    @cached_property
    def reached(self) -> list[str]:
        """The limits that may be the first: all, or those that some probe was near or beyond, if any was missed."""
        worst = {
            name: max(probe.limits[name].ratio for probe in self.probes if name in probe.limits) for name in self.limits
        }
        least = REACHED if max(worst.values(), default=0.0) > 1 else 0.0
        return [name for name, ratio in worst.items() if ratio >= least]

    @cached_property
    def fits(self) -> dict[str, LimitFit]:
        """The fit of each limit that may be the first."""
        by_name = {name: [probe.limits[name] for probe in self.probes if name in probe.limits] for name in self.reached}
        grid = grid_over([each for evidence in by_name.values() for each in evidence])
        return {name: fit_limit(evidence, self.limits[name], grid) for name, evidence in by_name.items()}

    @cached_property
    def place(self) -> Place | None:
        """Where the first limit is reached; None without a probe."""
        return first_limit(list(self.fits.values())) if self.limits else None

    @cached_property
    def loads(self) -> list[float]:
        """The loads of all probes."""
        return [probe.load for probe in self.probes]

    @cached_property
    def met(self) -> list[float]:
        """Loads at which all limits were met."""
        return [probe.load for probe in self.probes if probe.is_met]

    @cached_property
    def missed(self) -> list[float]:
        """Loads at which a limit was missed."""
        return [probe.load for probe in self.probes if not probe.is_met]

    @property
    def is_bracketed(self) -> bool:
        """Whether some probe met the limits and some other did not."""
        return bool(self.met and self.missed)

    def is_precise(self, precision: float) -> bool:
        """Whether the interval is narrow enough, and both sides of the limit were seen."""
        enough = len(self.probes) >= LEAST_PROBES and self.is_bracketed
        if not enough or self.place is None:
            return False
        if self.key == IN_FLIGHT and self.place.high - self.place.low < math.log1p(1 / math.exp(self.place.x)):
            return True
        return self.half_width <= precision

    @property
    def half_width(self) -> float:
        """Half of the interval, relative to the estimate."""
        if self.place is None:
            return math.inf
        return (math.exp(self.place.high) - math.exp(self.place.low)) / 2 / math.exp(self.place.x)

    def requests_for(self, precision: float) -> int:
        """Requests of one more probe near the limit with which the interval would be narrow enough."""
        if self.place is None:
            return 0
        name = list(self.fits)[self.place.limit]
        allowed, slope = self.limits[name], self.fits[name].slope
        near = [probe for probe in self.probes if name in probe.limits and not probe.limits[name].side]
        near = [probe for probe in near if abs(math.log(probe.load) - self.place.x) < NEAR]
        per_sample = [probe.requests / probe.limits[name].samples for probe in near]
        requests_per_sample = float(np.median(per_sample)) if per_sample else USUAL_CORRELATION
        information = slope**2 / requests_per_sample * (1 if allowed is None else allowed / (1 - allowed))
        variance = ((self.place.high - self.place.low) / 2 / NORMAL) ** 2 - START_TO_START**2
        allowed_variance = (precision * MARGIN / NORMAL) ** 2
        wanted = 1 / max(allowed_variance - START_TO_START**2, allowed_variance / 4) - 1 / max(variance, 1e-9)
        return math.ceil(max(0.0, wanted) / information)


def _limit_evidence(figures: Mapping[str, float], name: str, x: float, side: Side) -> LimitEvidence:
    """What the figures of a point say about one limit: adjusted for the luck of its arrivals, if that is known."""
    ratio, samples = figures[f"{RATIO}{name}"], _reliable(figures[f"slo_samples_{name}"])
    if f"{ADJUSTED_SAMPLES}{name}" in figures:
        ratio, samples = figures[f"{ADJUSTED_RATIO}{name}"], figures[f"{ADJUSTED_SAMPLES}{name}"]
    return LimitEvidence(x, ratio, samples, side, figures.get(f"{SLOPE}{name}"))


def _reliable(samples: float) -> float:
    """The number of independent requests, less where a short run shows too little of how long they are correlated."""
    return samples**2 / (samples + FEW_SAMPLES)


def _untried(model_rate: float | None, load: float) -> float | None:
    """The rate of an earlier model, unless this load tried it and gave no better one."""
    was_tried = model_rate is not None and 0 < load < math.inf and abs(math.log(load / model_rate)) < TRIED
    return None if was_tried else model_rate


def _model_rate(outcome: Outcome) -> float | None:
    """The lowest of the rates at which a model of the server meets a limit: one of an overloaded server, too."""
    rates = [value for key, value in outcome.metrics.items() if key.startswith(MODEL_RATE)]
    return min(rates) if rates and (outcome.status == "ok" or is_beyond_limit(outcome)) else None


def _probe(outcome: Outcome, load: float) -> MeasuredProbe | None:
    """What an outcome says about the limits; None if it is no measurement of the server."""
    is_overload = is_beyond_limit(outcome)
    figures = outcome.metrics
    names = [key.removeprefix(RATIO) for key in figures if key.startswith(RATIO)]
    names = [name for name in names if figures.get(f"slo_samples_{name}", 0.0) > 0]  # 0: of a mean that is 0
    if not names or not (outcome.believable or is_overload):
        return None
    decision = figures.get("slo_decision")
    is_missed, is_met = is_overload or decision == 0, decision == 1
    worst = max(names, key=lambda name: figures[f"{RATIO}{name}"])
    limits = {}
    for name in names:
        ratio = figures[f"{RATIO}{name}"]
        side: Side = "within" if is_met else "beyond" if is_missed and (ratio > 1 or name == worst) else ""
        limits[name] = _limit_evidence(figures, name, math.log(load), side)
    requests = int(outcome.override("num_prompts") or figures.get("completed", 0))
    ended = int(figures.get("completed", 0) + figures.get("failed", 0))
    sent_requests = requests if decision is None else min(ended, requests)
    return MeasuredProbe(outcome=outcome, load=load, requests=requests, sent_requests=sent_requests, limits=limits)
