"""Two sets of runs, point by point and metric by metric: how much, how sure, and what that means.

A verdict needs an effect above the metric's minimum and evidence that it is no noise. Evidence is kept apart for each
direction, and corrected by Holm over every metric of every point, so that "false_alarm_percent" holds for the whole
comparison. INVALID runs take no part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from benchhydra.analysis.config_diff import config_differences
from benchhydra.analysis.runs import MetricKind, Run, Runs
from benchhydra.analysis.stats import bootstrap, outliers, robust
from benchhydra.analysis.stats.change_points import NoiseModel
from benchhydra.analysis.stats.robust import ChangeEvidence, Floats
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.result import Better, Verdict

#: "same" needs this much certainty that the change is smaller than the smallest that matters (two one-sided tests).
SAME_ALPHA = 0.05
INTERVAL = 0.95
#: Fewer degrees of freedom than this are no evidence: two runs a side.
LEAST_FREEDOM = 1.9


class ChangeVerdict(StrEnum):
    """What is said about a metric."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    UNCLEAR = "unclear"


class Basis(StrEnum):
    """Where the evidence comes from, strongest first."""

    REPEATS = "repeats"
    HISTORY = "history"
    REQUESTS = "requests"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class MetricChange:
    """One metric of one point. Ratios are candidate over base minus 1, whatever the direction; None is unknown."""

    metric: str
    unit: str
    better: Better
    base: float
    candidate: float
    base_runs: int
    candidate_runs: int
    ratio: float
    low: float | None = None
    high: float | None = None
    p_worse: float | None = None
    p_better: float | None = None
    noise: float | None = None
    detectable: float | None = None
    smallest: float = 0.0
    basis: Basis = Basis.NONE
    change: ChangeVerdict = ChangeVerdict.UNCLEAR
    note: str = ""

    @property
    def loss(self) -> float:
        """The log ratio for the worse; below 0 is for the better."""
        return math.log1p(self.ratio) * (1 if self.better is Better.SMALLER else -1)

    @property
    def judged(self) -> bool:
        """Whether it counts in the family of tests: evidence between runs."""
        return self.p_worse is not None and self.basis in (Basis.REPEATS, Basis.HISTORY)


@dataclass(frozen=True, kw_only=True)
class PointChange:
    """One point on both sides. ``invalid``: a side has runs, and none to be used. ``notes``: what was left out."""

    point_key: str
    label: str
    base: tuple[Run, ...]
    candidate: tuple[Run, ...]
    metrics: tuple[MetricChange, ...] = ()
    missing: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    invalid: str = ""

    @property
    def suspect(self) -> bool:
        """Whether any run of it is SUSPECT."""
        return any(run.verdict is Verdict.SUSPECT for run in (*self.base, *self.candidate) if run.usable)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All points of two sides."""

    points: tuple[PointChange, ...]
    only_base: tuple[str, ...] = ()
    only_candidate: tuple[str, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)

    @property
    def metrics(self) -> list[tuple[PointChange, MetricChange]]:
        """Every metric of every point."""
        return [(point, metric) for point in self.points for metric in point.metrics]

    def count(self, change: ChangeVerdict) -> int:
        """How many metrics changed so."""
        return sum(metric.change is change for _, metric in self.metrics)


def compare(base: Runs, candidate: Runs, *, thresholds: Thresholds, history: Iterable[Run] = ()) -> Comparison:
    """Compare two sources, paired by point_key, or one point with one point whatever their keys are."""
    ids = frozenset(run.run_id for run in (*base.runs, *candidate.runs))
    floor = NoiseModel(list(history), ids)
    left, right = by_point(base.runs), by_point(candidate.runs)
    kinds = base.kinds | candidate.kinds
    pairs = _pairs(left, right)
    points = [point(left[a], right[b], kinds, thresholds, floor) for a, b in pairs]
    return verdicts(
        Comparison(
            points=tuple(points),
            only_base=tuple(left[key][0].label for key in left if key not in {a for a, _ in pairs}),
            only_candidate=tuple(right[key][0].label for key in right if key not in {b for _, b in pairs}),
            thresholds=thresholds,
        )
    )


def by_point(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs of each point_key, in order."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.point_key, []).append(run)
    return found


def _pairs(left: dict[str, list[Run]], right: dict[str, list[Run]]) -> list[tuple[str, str]]:
    shared = [(key, key) for key in left if key in right]
    if not shared and len(left) == len(right) == 1:
        return [(next(iter(left)), next(iter(right)))]
    return shared


def usable(runs: Iterable[Run]) -> list[Run]:
    """Runs that may be used, and that produced anything."""
    return [run for run in runs if run.usable and run.metrics and run.metrics.get("output_throughput", 1.0) > 0]


def point(
    base: Sequence[Run],
    candidate: Sequence[Run],
    kinds: dict[str, MetricKind],
    thresholds: Thresholds,
    floor: NoiseModel,
) -> PointChange:
    """One point, with its metrics not yet judged (``verdicts`` needs them all)."""
    left, right = usable(base), usable(candidate)
    found = PointChange(
        point_key=candidate[-1].point_key,
        label=candidate[-1].label,
        base=tuple(base),
        candidate=tuple(candidate),
        differences=config_differences(base[-1], candidate[-1]),
        invalid="candidate" if not right else "base" if not left else "",
    )
    if found.invalid:
        return found
    wanted = dict.fromkeys(key for run in left for key in run.metrics)
    a, b = _even(left, right, [key for key in wanted if thresholds.judges(key, kinds[key].better)], floor)
    there = set.union(*(set(run.metrics) for run in b))
    metrics = (_metric(key, a, b, kinds[key], thresholds, floor) for key in wanted if key in there)
    return replace(
        found,
        metrics=_with_requests(tuple(m for m in metrics if m is not None), a, b),
        missing=tuple(key for key in wanted if key not in there),
        notes=(*outliers.left_out("base", left, a), *outliers.left_out("candidate", right, b)),
    )


def _even(left: list[Run], right: list[Run], metrics: list[str], floor: NoiseModel) -> list[list[Run]]:
    """Both sides without odd runs; history lends its scales."""
    past = {metric: floor.groups(right[-1].machine, left[-1].point_key, metric) for metric in metrics}
    return outliers.outlier_mask([left, right], metrics, past)


def _metric(
    key: str, base: Sequence[Run], candidate: Sequence[Run], kind: MetricKind, thresholds: Thresholds, floor: NoiseModel
) -> MetricChange | None:
    if not thresholds.judges(key, kind.better):
        return None
    a = [run.metrics[key] for run in base if key in run.metrics]
    b = [run.metrics[key] for run in candidate if key in run.metrics]
    middle_a, middle_b = float(np.median(a)), float(np.median(b))
    found = MetricChange(
        metric=key,
        unit=kind.unit,
        better=thresholds.direction(key, kind.better),
        base=middle_a,
        candidate=middle_b,
        base_runs=len(a),
        candidate_runs=len(b),
        ratio=middle_b / middle_a - 1 if middle_a else 0.0,
        smallest=math.expm1(thresholds.smallest(key)),
    )
    if min(*a, *b) <= 0:
        equal = set(a) == set(b)
        return replace(found, change=ChangeVerdict.SAME if equal else ChangeVerdict.UNCLEAR, note="zero has no ratio")
    machine, point_key = candidate[-1].machine, candidate[-1].point_key
    others = floor.groups(machine, base[-1].point_key, key)
    prior = floor.prior(machine, point_key, key)
    return measured(found, np.log(a), np.log(b), others, prior)


def measured(
    found: MetricChange, base: Floats, candidate: Floats, others: Sequence[Floats], prior: robust.VariancePrior | None
) -> MetricChange:
    """A metric with the evidence of its repeats and its noise floor, where these say anything."""
    if robust.freedom([base, candidate, *others]) + (prior.freedom if prior else 0) < LEAST_FREEDOM:
        return replace(found, note="one run a side, and no history: repeats=5 gives evidence")
    evidence = robust.compare_samples(base, candidate, others, prior)
    found = replace(found, base=_level(base, evidence), candidate=_level(candidate, evidence))
    lone = len(base) == 1 and len(candidate) == 1
    return with_evidence(found, evidence, Basis.HISTORY if lone else Basis.REPEATS)


def _level(logs: Floats, evidence: ChangeEvidence) -> float:
    return math.exp(robust.location(logs, evidence.scale))


def with_evidence(found: MetricChange, evidence: ChangeEvidence, basis: Basis) -> MetricChange:
    """A metric with interval, p-values and noise from the evidence of a log difference."""
    difference, error = float(evidence.difference), float(evidence.error)
    reach = error * robust.quantile(0.5 + INTERVAL / 2, evidence.freedom)
    rising = float(robust.upper_tail(evidence.t, evidence.freedom))
    worse_when_rising = found.better is Better.SMALLER
    return replace(
        found,
        ratio=math.expm1(difference),
        low=math.expm1(difference - reach),
        high=math.expm1(difference + reach),
        p_worse=rising if worse_when_rising else 1 - rising,
        p_better=1 - rising if worse_when_rising else rising,
        noise=float(evidence.scale),
        detectable=max(found.smallest, robust.detectable(error, evidence.freedom, SAME_ALPHA)),
        change=_same(found, difference, evidence),
        basis=basis,
        note="",
    )


def _same(found: MetricChange, difference: float, evidence: ChangeEvidence) -> ChangeVerdict:
    """SAME where the whole equivalence interval is below what matters, else UNCLEAR until all metrics are judged."""
    reach = float(evidence.error) * robust.quantile(1 - SAME_ALPHA, evidence.freedom)
    inside = abs(difference) + reach < math.log1p(found.smallest)
    return ChangeVerdict.SAME if inside else ChangeVerdict.UNCLEAR


def _with_requests(
    metrics: tuple[MetricChange, ...], base: Sequence[Run], candidate: Sequence[Run]
) -> tuple[MetricChange, ...]:
    """Where single runs have no noise floor: evidence from their requests."""
    if not any(m.basis is Basis.NONE and not m.note.startswith("zero") for m in metrics):
        return metrics
    left, right = bootstrap.bootstrap_scales(base[-1]), bootstrap.bootstrap_scales(candidate[-1])
    return tuple(
        with_evidence(
            m, bootstrap.compare_within_runs(m.base, m.candidate, left[m.metric], right[m.metric]), Basis.REQUESTS
        )
        if m.basis is Basis.NONE and m.metric in left and m.metric in right
        else m
        for m in metrics
    )


def verdicts(found: Comparison) -> Comparison:
    """The comparison with every metric judged: Holm over all of them, in each direction."""
    alpha = found.thresholds.alpha
    tested = [metric for _, metric in found.metrics if metric.p_worse is not None]
    worse = robust.holm([m.p_worse for m in tested if m.p_worse is not None])
    better = robust.holm([m.p_better for m in tested if m.p_better is not None])
    sure = {id(m): (w < alpha, b < alpha) for m, w, b in zip(tested, worse, better, strict=True)}
    no = (False, False)
    points = (replace(p, metrics=tuple(_judge(m, *sure.get(id(m), no)) for m in p.metrics)) for p in found.points)
    return replace(found, points=tuple(points))


def _judge(metric: MetricChange, sure_worse: bool, sure_better: bool) -> MetricChange:
    if sure_worse and metric.loss > math.log1p(metric.smallest):
        return replace(metric, change=ChangeVerdict.WORSE)
    if sure_better and -metric.loss > math.log1p(metric.smallest):
        return replace(metric, change=ChangeVerdict.BETTER)
    return metric
