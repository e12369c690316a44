"""The answer of a search for the knee: its interval, the throughput at saturation, probes and curve."""

from __future__ import annotations

import math

import numpy as np

from benchhydra import metrics
from benchhydra.search import Answer, Figure, Fit, ProbeFinding
from benchhydra.search.knee_evidence import KneeEvidence, KneePlace, RateProbe, is_met
from benchhydra.search.limit_fit import CONFIDENCE, LimitEvidence, LimitFit
from benchhydra.search.saturation import SATURATION_THROUGHPUT, SATURATION_TOKENS, Saturation, fit_saturation

UNIT = "requests/s"
CURVE_POINTS = 25
#: The curve is drawn over this factor below and above the knee, or to the probes if they are nearer.
CURVE_REACH = 1.5
#: An excess within this factor of that at the knee leaves open on which side of it a probe alone is.
UNCLEAR = 1.5


def knee_answer(evidence: KneeEvidence, precision: float) -> Answer | None:
    """Return the answer; None without a probe at a rate, or without an idle point.

    Where all probes are on one side of the knee, it is only a bound.
    """
    place = evidence.place
    if place is None:
        return None
    saturation = fit_saturation(evidence.bursts)
    value, low, high, bound = _value(evidence, place)
    return Answer(
        value=value,
        low=low,
        high=high,
        confidence=None if bound else CONFIDENCE,
        bound=bound,
        unit=UNIT,
        name="knee",
        limited_by=f"{evidence.metric} <= {evidence.bound_ms:.4g}",
        probes=len(evidence.idle) + len(evidence.bursts) + len(evidence.probes),
        note=_note(evidence, saturation, precision),
        figures=_figures(evidence, saturation),
        evidence=_findings(evidence),
        fit=_curve(evidence, place) if not bound else None,
    )


def _value(evidence: KneeEvidence, place: KneePlace) -> tuple[float, float | None, float | None, str]:
    """(value, low, high, bound) of the answer."""
    if evidence.is_bracketed:
        return math.exp(place.x), math.exp(place.low), math.exp(place.high), ""
    if evidence.met:
        value = min(max(evidence.met), math.exp(place.low))
        return value, value, None, "at least"
    value = max(min(evidence.missed), math.exp(place.high))
    return value, None, value, "at most"


def _note(evidence: KneeEvidence, saturation: Saturation | None, precision: float) -> str:
    """What the knee is relative to, and what the search could not find out."""
    base_ms, variance = evidence.base
    notes = [
        f"{evidence.metric} is there {evidence.factor:g} times the {base_ms:.4g} ms of one request at a time"
        f" (standard error {math.sqrt(variance) * 100:.1g} %)"
    ]
    place = evidence.place
    if place is not None and evidence.is_bracketed and place.half_width > precision:
        notes.append(
            f"the interval is wider than asked: {place.half_width * 100:.1f} % instead of {precision * 100:g} %"
        )
    if saturation is None:
        notes.append("the throughput at saturation is unknown: too few bursts, or too different ones")
    elif saturation.half_width > precision:
        notes.append(f"the interval of the throughput at saturation is wider: {saturation.half_width * 100:.1f} %")
    if count := len(evidence.unusable):
        notes.append(f"{count} point{'s' * (count > 1)} not used: failed, INVALID, or without {evidence.metric}")
    return "; ".join(notes)


def _figures(evidence: KneeEvidence, saturation: Saturation | None) -> tuple[Figure, ...]:
    """The throughput at saturation in requests/s, and in generated tokens/s if answers have tokens."""
    if saturation is None:
        return ()
    figures = [
        Figure(name=SATURATION_THROUGHPUT, unit=UNIT, value=saturation.value, low=saturation.low, high=saturation.high)
    ]
    largest = max(evidence.bursts, key=lambda burst: burst.requests)
    tokens = largest.outcome.metrics.get("output_throughput")
    if tokens is not None:
        per_request = tokens / largest.throughput
        low, high = saturation.low * per_request, saturation.high * per_request
        value = saturation.value * per_request
        figures.append(Figure(name=SATURATION_TOKENS, unit="tokens/s", value=value, low=low, high=high))
    return tuple(figures)


def _findings(evidence: KneeEvidence) -> tuple[ProbeFinding, ...]:
    """All points that were used: those of one request at a time and the bursts stand at their throughput."""
    findings = [
        ProbeFinding(
            key_value=each.outcome.metrics.get("request_throughput", 1e3 / each.mean_ms),
            decision="idle",
            point_key=each.outcome.point_key,
            repeat=each.outcome.repeat,
            requests=each.requests,
            value=each.mean_ms,
        )
        for each in evidence.idle
    ]
    findings += [
        ProbeFinding(
            key_value=burst.throughput,
            decision="saturated",
            point_key=burst.outcome.point_key,
            repeat=burst.outcome.repeat,
            requests=burst.requests,
        )
        for burst in evidence.bursts
    ]
    return (
        *findings,
        *(_finding(probe, limit) for probe, limit in zip(evidence.probes, evidence.limits, strict=True)),
    )


def _finding(probe: RateProbe, limit: LimitEvidence) -> ProbeFinding:
    is_unclear = not limit.side and 1 / UNCLEAR < limit.ratio < UNCLEAR
    return ProbeFinding(
        key_value=probe.rate,
        decision="unclear" if is_unclear else "met" if is_met(limit) else "missed",
        point_key=probe.outcome.point_key,
        repeat=probe.outcome.repeat,
        requests=probe.requests,
        value=probe.latency.mean_ms if probe.latency is not None else None,
        ratio=limit.ratio,
    )


def _curve(evidence: KneeEvidence, place: KneePlace) -> Fit | None:
    """The modelled latency around the knee, in ms, with its 95 % band."""
    fit: LimitFit | None = evidence.fit
    declared = metrics.declared(evidence.metric)
    if fit is None or declared is None:
        return None
    rates = [probe.rate for probe in evidence.probes]
    reach = math.log(CURVE_REACH)
    lowest, highest = max(math.log(min(rates)), place.x - reach), min(math.log(max(rates)), place.x + reach)
    x = np.linspace(lowest, highest, CURVE_POINTS)
    excess = fit.ratios(x, (0.5, (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    base_ms = evidence.base[0]
    y, low, high = (base_ms + (evidence.bound_ms - base_ms) * each for each in excess)
    return Fit(
        key="qps",
        metric=evidence.metric,
        unit=declared.unit,
        limit=float(f"{evidence.bound_ms:.6g}"),
        x=_numbers(np.exp(x)),
        y=_numbers(y),
        low=_numbers(low),
        high=_numbers(high),
    )


def _numbers(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
