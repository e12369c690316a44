"""How sure repeated runs make: a metric's change, with its standard error, p-values and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchhydra.analysis.comparison import Basis, ChangeVerdict, MetricChange
from benchhydra.analysis.noise_model import NoiseModel
from benchhydra.analysis.runs import MetricKind, Run
from benchhydra.analysis.stats import Floats, robust, student_t
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.result import Better

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
    machine, point_keys = candidate[-1].machine, (base[-1].point_key, candidate[-1].point_key)
    others = noise_model.groups(machine, point_keys, key)
    prior = noise_model.prior(machine, point_keys, key)
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
    """A change with p-values, noise and standard error from the evidence of a log difference; it is not judged yet."""
    p_rise = float(student_t.upper_tail(evidence.t, evidence.freedom))
    p_worse, p_better = (p_rise, 1 - p_rise) if change.better is Better.SMALLER else (1 - p_rise, p_rise)
    return replace(
        change,
        ratio=math.expm1(float(evidence.difference)),
        p_worse=p_worse,
        p_better=p_better,
        error=float(evidence.error),
        freedom=float(evidence.freedom),
        noise=float(evidence.scale),
        basis=basis,
        note="",
    )
