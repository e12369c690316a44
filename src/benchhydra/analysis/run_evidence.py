"""How sure repeated runs make: a metric's change, with interval, p-values and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchhydra.analysis.comparison import Basis, ChangeVerdict, MetricChange
from benchhydra.analysis.noise_model import NoiseModel
from benchhydra.analysis.runs import MetricKind, Run
from benchhydra.analysis.stats import Floats, power, robust, student_t
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.result import Better

#: SAME needs this much certainty that the change is smaller than the smallest that matters (two one-sided tests).
SAME_ALPHA = 0.05
INTERVAL = 0.95
#: Fewer degrees of freedom than this are no evidence. Two runs a side have 2, less what clipping costs.
FEWEST_DEGREES = 1.9
ZERO_NOTE = "zero has no ratio"


def metric_change(
    key: str,
    base: Sequence[Run],
    candidate: Sequence[Run],
    kind: MetricKind,
    thresholds: Thresholds,
    noise_model: NoiseModel,
) -> MetricChange:
    """The change of a metric that both sides have, with the evidence of its repeats and of history."""
    base_values, candidate_values = _values(base, key), _values(candidate, key)
    base_median, candidate_median = float(np.median(base_values)), float(np.median(candidate_values))
    change = MetricChange(
        metric=key,
        unit=kind.unit,
        better=thresholds.direction(key, kind.better),
        base=base_median,
        candidate=candidate_median,
        base_runs=len(base_values),
        candidate_runs=len(candidate_values),
        ratio=candidate_median / base_median - 1 if base_median else 0.0,
        smallest=math.expm1(thresholds.smallest_effect(key)),
    )
    if min(*base_values, *candidate_values) <= 0:
        equal = set(base_values) == set(candidate_values)
        return replace(change, change=ChangeVerdict.SAME if equal else ChangeVerdict.INCONCLUSIVE, note=ZERO_NOTE)
    machine, point_key = candidate[-1].machine, candidate[-1].point_key
    others = noise_model.groups(machine, base[-1].point_key, key)
    prior = noise_model.prior(machine, point_key, key)
    return with_run_evidence(change, np.log(base_values), np.log(candidate_values), others, prior)


def _values(runs: Sequence[Run], key: str) -> list[float]:
    return [run.metrics[key] for run in runs if key in run.metrics]


def with_run_evidence(
    change: MetricChange,
    base: Floats,
    candidate: Floats,
    others: Sequence[Floats],
    prior: robust.VariancePrior | None,
) -> MetricChange:
    """A change with the evidence of the logs of its runs; ``others`` and the prior lend their scale."""
    degrees = robust.freedom([base, candidate, *others]) + (prior.freedom if prior else 0)
    if degrees < FEWEST_DEGREES:
        return replace(change, note="one run a side, and no history: repeats=5 gives evidence")
    evidence = robust.compare_samples(base, candidate, others, prior)
    change = replace(change, base=_level(base, evidence.scale), candidate=_level(candidate, evidence.scale))
    single_runs = len(base) == 1 and len(candidate) == 1
    return with_evidence(change, evidence, Basis.HISTORY if single_runs else Basis.REPEATS)


def _level(logs: Floats, scale: Floats) -> float:
    return math.exp(robust.location(logs, scale))


def with_evidence(change: MetricChange, evidence: robust.ChangeEvidence, basis: Basis) -> MetricChange:
    """A change with interval, p-values and noise from the evidence of a log difference."""
    difference, error = float(evidence.difference), float(evidence.error)
    reach = error * student_t.quantile(0.5 + INTERVAL / 2, evidence.freedom)
    p_rise = float(student_t.upper_tail(evidence.t, evidence.freedom))
    p_worse, p_better = (p_rise, 1 - p_rise) if change.better is Better.SMALLER else (1 - p_rise, p_rise)
    return replace(
        change,
        ratio=math.expm1(difference),
        low=math.expm1(difference - reach),
        high=math.expm1(difference + reach),
        p_worse=p_worse,
        p_better=p_better,
        noise=float(evidence.scale),
        detectable=max(change.smallest, power.detectable_change(error, evidence.freedom, SAME_ALPHA)),
        change=_same_or_inconclusive(change, difference, evidence),
        basis=basis,
        note="",
    )


def _same_or_inconclusive(change: MetricChange, difference: float, evidence: robust.ChangeEvidence) -> ChangeVerdict:
    """SAME where the whole equivalence interval is below what matters, else INCONCLUSIVE until all are judged."""
    reach = float(evidence.error) * student_t.quantile(1 - SAME_ALPHA, evidence.freedom)
    inside = abs(difference) + reach < math.log1p(change.smallest)
    return ChangeVerdict.SAME if inside else ChangeVerdict.INCONCLUSIVE
