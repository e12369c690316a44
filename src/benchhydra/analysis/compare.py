"""Two sets of runs, point by point and metric by metric: how much changed, how sure that is, and the verdict.

A verdict needs an effect above the metric's minimum and evidence that it is no noise. Evidence is kept apart for each
direction, and corrected by Holm over every metric of every point, so that "false_alarm_percent" holds for the whole
comparison. INVALID runs take no part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from benchhydra.analysis.comparison import Basis, ChangeVerdict, Comparison, MetricChange, PointChange
from benchhydra.analysis.config_diff import config_differences
from benchhydra.analysis.noise_model import NoiseModel
from benchhydra.analysis.outlier_runs import exclusion_note, without_outliers
from benchhydra.analysis.pairing import paired_points, runs_by_point, usable_runs
from benchhydra.analysis.request_evidence import with_request_evidence
from benchhydra.analysis.run_evidence import ZERO_NOTE, metric_change
from benchhydra.analysis.runs import MetricKind, Run, Runs
from benchhydra.analysis.stats.multiple_testing import holm
from benchhydra.analysis.thresholds import Thresholds


def compare(base: Runs, candidate: Runs, *, thresholds: Thresholds, history: Iterable[Run] = ()) -> Comparison:
    """Compare two sources, paired by point_key, or one point with one point whatever their keys are."""
    compared_ids = frozenset(run.run_id for run in (*base.runs, *candidate.runs))
    noise_model = NoiseModel(list(history), compared_ids)
    left, right = runs_by_point(base.runs), runs_by_point(candidate.runs)
    kinds = base.kinds | candidate.kinds
    pairs = paired_points(left, right)
    paired_left, paired_right = {a for a, _ in pairs}, {b for _, b in pairs}
    return judged(
        Comparison(
            points=tuple(compare_point(left[a], right[b], kinds, thresholds, noise_model) for a, b in pairs),
            only_base=tuple(runs[0].label for key, runs in left.items() if key not in paired_left),
            only_candidate=tuple(runs[0].label for key, runs in right.items() if key not in paired_right),
            thresholds=thresholds,
        )
    )


def compare_point(
    base: Sequence[Run],
    candidate: Sequence[Run],
    kinds: Mapping[str, MetricKind],
    thresholds: Thresholds,
    noise_model: NoiseModel,
) -> PointChange:
    """One point with the evidence of its metrics, not yet judged: ``judged`` needs the metrics of all points."""
    left, right = usable_runs(base), usable_runs(candidate)
    change = PointChange(
        point_key=candidate[-1].point_key,
        label=candidate[-1].label,
        base=tuple(base),
        candidate=tuple(candidate),
        differences=config_differences(base[-1], candidate[-1]),
        invalid="candidate" if not right else "base" if not left else "",
    )
    if change.invalid:
        return change
    base_metrics = dict.fromkeys(key for run in left for key in run.metrics)
    compared = [key for key in base_metrics if thresholds.judges(key, kinds[key].better)]
    groups = {key: noise_model.groups(right[-1].machine, left[-1].point_key, key) for key in compared}
    clean_left, clean_right = without_outliers([left, right], compared, groups)
    candidate_metrics = {key for run in clean_right for key in run.metrics}
    metrics = tuple(
        metric_change(key, clean_left, clean_right, kinds[key], thresholds, noise_model)
        for key in compared
        if key in candidate_metrics
    )
    return replace(
        change,
        metrics=_with_request_evidence(metrics, clean_left[-1], clean_right[-1]),
        missing=tuple(key for key in base_metrics if key not in candidate_metrics),
        notes=(*exclusion_note("base", left, clean_left), *exclusion_note("candidate", right, clean_right)),
    )


def _with_request_evidence(metrics: tuple[MetricChange, ...], base: Run, candidate: Run) -> tuple[MetricChange, ...]:
    """Where single runs have no evidence of their noise: evidence from their requests."""
    without_evidence = [m.metric for m in metrics if m.basis is Basis.NONE and m.note != ZERO_NOTE]
    return with_request_evidence(metrics, base, candidate) if without_evidence else metrics


def judged(comparison: Comparison) -> Comparison:
    """The comparison with every metric judged: Holm over all of them, in each direction."""
    alpha = comparison.thresholds.alpha
    tested = [metric for _, metric in comparison.metrics if metric.p_worse is not None]
    worse = holm([m.p_worse for m in tested if m.p_worse is not None])
    better = holm([m.p_better for m in tested if m.p_better is not None])
    significant = {id(m): (w < alpha, b < alpha) for m, w, b in zip(tested, worse, better, strict=True)}
    points = (
        replace(p, metrics=tuple(_judged(m, *significant.get(id(m), (False, False))) for m in p.metrics))
        for p in comparison.points
    )
    return replace(comparison, points=tuple(points))


def _judged(metric: MetricChange, surely_worse: bool, surely_better: bool) -> MetricChange:
    if surely_worse and metric.loss > math.log1p(metric.smallest):
        return replace(metric, change=ChangeVerdict.WORSE)
    if surely_better and -metric.loss > math.log1p(metric.smallest):
        return replace(metric, change=ChangeVerdict.BETTER)
    return metric
