"""The answer of a search for the capacity: interval, limit, figures at the capacity, probes and curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchhydra import metrics
from benchhydra.search import Answer, Figure, Fit, ProbeFinding
from benchhydra.search.limit_fit import CONFIDENCE
from benchhydra.search.load_evidence import IN_FLIGHT, RATE, RATIO, Evidence, MeasuredProbe

UNITS = {RATE: "requests/s", IN_FLIGHT: "requests in flight"}
#: Figures that belong to the answer, and their power of the rate.
FIGURES = {
    "request_throughput": 1,
    "output_throughput": 1,
    "output_throughput_per_gpu": 1,
    "total_token_throughput": 1,
    "cost_per_1m_output_tokens": -1,
    "cost_per_1m_total_tokens": -1,
}
CURVE_POINTS = 25
#: The curve is drawn over this factor below and above the capacity, or to the probes if they are nearer.
CURVE_REACH = 1.5
#: A ratio within this factor of 1 leaves open on which side of the limit a probe alone is.
UNCLEAR = 2.0


def capacity_answer(evidence: Evidence, precision: float) -> Answer | None:
    """Return the answer; None if no probe has measured anything.

    Where all probes are on one side of the limit, it is only a bound: the highest load that was met, or the lowest that
    was missed.
    """
    if evidence.place is None:
        return None
    if not evidence.is_bracketed:
        return _bound(evidence)
    place = evidence.place
    value, low, high = (math.exp(each) for each in (place.x, place.low, place.high))
    name = list(evidence.fits)[place.limit]
    return Answer(
        value=value,
        low=low,
        high=high,
        confidence=CONFIDENCE,
        unit=_unit(evidence),
        name="capacity",
        limited_by=_limit_text(evidence, name),
        probes=len(evidence.probes),
        note=_note(evidence, precision),
        figures=_figures(evidence, value, low, high),
        evidence=_probes(evidence, name),
        fit=_curve(evidence, name),
    )


def _unit(evidence: Evidence) -> str:
    """The unit of the load; ``qps`` counts sessions if the load is one of sessions."""
    has_sessions = any("offered_sessions_per_s" in probe.outcome.metrics for probe in evidence.probes)
    return "sessions/s" if evidence.key == RATE and has_sessions else UNITS[evidence.key]


def _bound(evidence: Evidence) -> Answer:
    """The answer if every probe met all limits, or none did.

    A short probe near the limit may be on the wrong side of it by chance. The bound is then that of the fit's interval.
    """
    is_met = bool(evidence.met)
    place = evidence.place
    assert place is not None
    value = min(max(evidence.met), math.exp(place.low)) if is_met else max(min(evidence.missed), math.exp(place.high))
    if evidence.key == IN_FLIGHT:
        value = math.floor(value)
    worst = max(evidence.probes, key=lambda probe: probe.ratio)
    name = max(worst.limits, key=lambda each: worst.limits[each].ratio)
    words = "all limits were met at every load that was tried" if is_met else "no load that was tried met all limits"
    return Answer(
        value=value,
        low=value if is_met else None,
        high=None if is_met else value,
        bound="at least" if is_met else "at most",
        unit=_unit(evidence),
        name="capacity",
        limited_by="nothing that was tried" if is_met else _limit_text(evidence, name),
        probes=len(evidence.probes),
        note=_with_unusable(f"{words}: {min(evidence.loads):.4g} to {max(evidence.loads):.4g}", evidence),
        figures=_figures(evidence, value, None, None),
        evidence=_probes(evidence, name),
    )


def _note(evidence: Evidence, precision: float) -> str:
    """What the search could not find out, as a sentence; empty if it is precise."""
    notes = []
    if not evidence.is_precise(precision):
        notes.append(
            f"the interval is wider than asked: {evidence.half_width * 100:.1f} % instead of {precision * 100:g} %"
        )
    notes += [f"at this load {limit}" for limit in _other_limits(evidence)]
    return _with_unusable("; ".join(notes), evidence)


def _with_unusable(note: str, evidence: Evidence) -> str:
    """The note, and how many points were left out."""
    count = len(evidence.unusable)
    if not count:
        return note
    loads = ",".join(sorted({outcome.override(evidence.key) or "?" for outcome in evidence.unusable}))
    reason = "failed, or INVALID for another reason than the server's limit"
    words = f"{count} point{'s' * (count > 1)} ({evidence.key}={loads}) not used: {reason}"
    return f"{note}; {words}" if note else words


def _other_limits(evidence: Evidence) -> list[str]:
    """Limits without samples of their own (throughput, cost) that are missed at the capacity."""
    nearest = _nearest(evidence)
    ratios = {
        key.removeprefix(RATIO): value
        for key, value in nearest.outcome.metrics.items()
        if key.startswith(RATIO) and key.removeprefix(RATIO) not in nearest.limits
    }
    return [
        f"slo.{name} is missed (value {nearest.outcome.metrics.get(name, math.nan):.4g})"
        for name, ratio in ratios.items()
        if ratio > 1
    ]


def _limit_text(evidence: Evidence, name: str) -> str:
    """``p99_ttft_ms <= 500``."""
    bounds = [probe.outcome.metrics.get(f"slo_limit_{name}") for probe in evidence.probes if name in probe.limits]
    sign = ">=" if name == "share" else "<="
    return f"{name} {sign} {bounds[0]:g}" if bounds and bounds[0] is not None else name


def _nearest(evidence: Evidence) -> MeasuredProbe:
    """The longest of the probes that are nearest to the capacity, in a steady state if there is one."""
    x = evidence.place.x if evidence.place else 0.0
    steady = [probe for probe in evidence.probes if not probe.says_only_a_side]
    return min(
        steady or evidence.probes,
        key=lambda probe: abs(math.log(probe.load) - x) - 0.05 * math.log(max(probe.requests, 1)),
    )


def _figures(evidence: Evidence, value: float, low: float | None, high: float | None) -> tuple[Figure, ...]:
    """Throughput and cost at the capacity: those of the nearest probe, scaled by the rate.

    In a closed loop they are not scaled, and have no interval.
    """
    nearest = _nearest(evidence)
    if evidence.key != RATE:
        low = high = None
    figures = []
    for name, power in FIGURES.items():
        declared, measured = metrics.declared(name), nearest.outcome.metrics.get(name)
        if declared is None or measured is None:
            continue
        ends = [
            None if each is None else measured * _scale(evidence, each / nearest.load, power)
            for each in (value, low, high)
        ]
        middle, *interval = ends
        bounds = sorted(each for each in interval if each is not None)
        figures.append(
            Figure(
                name=name,
                value=middle or measured,
                unit=declared.unit,
                low=bounds[0] if len(bounds) == 2 else None,
                high=bounds[1] if len(bounds) == 2 else None,
            )
        )
    return tuple(figures)


def _scale(evidence: Evidence, factor: float, power: int) -> float:
    """How a figure changes with the load: with the rate in an open loop; a closed loop's is that of the probe."""
    return factor**power if evidence.key == RATE else 1.0


def _probes(evidence: Evidence, name: str) -> tuple[ProbeFinding, ...]:
    """What the search made of each point, in the order of measuring."""
    used = [
        ProbeFinding(
            key_value=probe.load,
            decision=_decision(probe),
            point_key=probe.outcome.point_key,
            repeat=probe.outcome.repeat,
            requests=probe.sent_requests,
            value=probe.outcome.metrics.get(name),
            ratio=probe.ratio,
        )
        for probe in evidence.probes
    ]
    unusable = [
        ProbeFinding(
            key_value=load,
            decision="unusable",
            point_key=outcome.point_key,
            repeat=outcome.repeat,
        )
        for outcome in evidence.unusable
        if math.isfinite(load := float(outcome.override(evidence.key) or "nan"))
    ]
    return (*used, *unusable)


def _decision(probe: MeasuredProbe) -> str:
    if not probe.says_only_a_side and 1 / UNCLEAR < probe.ratio < UNCLEAR:
        return "unclear"
    return "met" if probe.is_met else "missed"


def _curve(evidence: Evidence, name: str) -> Fit | None:
    """The modelled ratio to the limit around the capacity, with its 95 % band."""
    if evidence.place is None:
        return None
    reach = math.log(CURVE_REACH)
    lowest = max(math.log(min(evidence.loads)), evidence.place.x - reach)
    highest = min(math.log(max(evidence.loads)), evidence.place.x + reach)
    x = np.linspace(lowest, highest, CURVE_POINTS)
    middle, low, high = evidence.fits[name].ratios(x, (0.5, (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Fit(
        key=evidence.key,
        metric=f"{RATIO}{name}",
        unit="ratio",
        limit=1.0,
        x=_numbers(np.exp(x)),
        y=_numbers(middle),
        low=_numbers(low),
        high=_numbers(high),
    )


def _numbers(values: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
