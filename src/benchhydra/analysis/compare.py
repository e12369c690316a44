"""Two sets of runs, point by point and metric by metric: how much changed, how sure that is, and the verdict.

A verdict needs an effect above the metric's minimum and evidence that it is no noise. Evidence is kept apart for each
direction, and corrected by Holm over every metric of every point, so that "false_alarm_percent" holds for the whole
comparison. INVALID runs take no part. Points whose figures cannot be compared (problems.py) are shown, but not judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchhydra.analysis.comparison import Basis, ChangeVerdict, Comparison, MetricChange, PointChange
from benchhydra.analysis.config_diff import config_differences
from benchhydra.analysis.noise_model import NoiseModel
from benchhydra.analysis.outlier_runs import exclusion_note, without_outliers
from benchhydra.analysis.pairing import Pairing, runs_by_point, usable_runs, why_unpaired
from benchhydra.analysis.problems import (
    MetricRoles,
    point_problems,
    same_runs,
    unpaired_points,
    with_workload_problem,
)
from benchhydra.analysis.request_evidence import with_request_evidence
from benchhydra.analysis.run_evidence import ZERO_NOTE, metric_change
from benchhydra.analysis.runs import Run, Runs
from benchhydra.analysis.stats.multiple_testing import holm
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.errors import ResultError
from benchhydra.similar_texts import natural_order

BY_WORKLOAD = Pairing()
NOT_JUDGED = "not judged: the sides are not comparable"


def compare(
    base: Runs, candidate: Runs, *, thresholds: Thresholds, history: Iterable[Run] = (), pairing: Pairing = BY_WORKLOAD
) -> Comparison:
    """Compare two sources, point by point as ``pairing`` says. Raises ConfigError if it does not tell points apart."""
    compared_ids = frozenset(run.run_id for run in (*base.runs, *candidate.runs))
    noise_model = NoiseModel(list(history), compared_ids)
    left, right = runs_by_point(base.runs), runs_by_point(candidate.runs)
    roles = MetricRoles.of_sides(base, candidate, thresholds)
    pairs = pairing.pairs(left, right)
    paired_left, paired_right = {a for a, _ in pairs}, {b for _, b in pairs}
    only_base = tuple(runs[0].label for key, runs in left.items() if key not in paired_left)
    only_candidate = tuple(runs[0].label for key, runs in right.items() if key not in paired_right)
    points = tuple(compare_point(left[a], right[b], roles, noise_model, len(pairs)) for a, b in pairs)
    points = tuple(sorted(points, key=lambda point: natural_order(point.label)))
    if not pairing.by:
        points = tuple(with_workload_problem(point) for point in points)
    return judged(
        Comparison(
            points=points,
            only_base=only_base,
            only_candidate=only_candidate,
            thresholds=thresholds,
            side_problems=(
                *same_runs(base, candidate),
                *unpaired_points(only_base, only_candidate, len(pairs), "" if pairs else why_unpaired(left, right)),
            ),
        )
    )


def compare_point(
    base: Sequence[Run], candidate: Sequence[Run], roles: MetricRoles, noise_model: NoiseModel, points: int = 1
) -> PointChange:
    """One of ``points`` points with the evidence of its metrics: ``judged`` needs those of all points."""
    left, right = usable_runs(base), usable_runs(candidate)
    change = PointChange(
        point_key=candidate[-1].point_key,
        label=candidate[-1].label,
        base=tuple(base),
        candidate=tuple(candidate),
        differences=config_differences(base[-1], candidate[-1]),
        invalid="candidate" if not right else "base" if not left else "",
    )
    change = replace(change, problems=point_problems(change, roles, noise_model, points))
    if change.invalid:
        return change
    base_metrics = dict.fromkeys(key for run in left for key in run.metrics)
    compared = [key for key in base_metrics if roles.judges(key) and _is_finite(key, (*left, *right))]
    groups = {key: noise_model.groups(right[-1].machine, left[-1].point_key, key) for key in compared}
    clean_left, clean_right = without_outliers([left, right], compared, groups)
    candidate_metrics = {key for run in clean_right for key in run.metrics}
    metrics = tuple(
        replace(
            metric_change(key, clean_left, clean_right, roles.kinds[key], roles.thresholds, noise_model),
            is_main=roles.is_main(right[-1].script, key),
        )
        for key in compared
        if key in candidate_metrics
    )
    metrics, note = _with_request_evidence(metrics, clean_left[-1], clean_right[-1])
    return replace(
        change,
        metrics=metrics,
        used_runs=(tuple(clean_left), tuple(clean_right)),
        missing=tuple(key for key in base_metrics if key not in candidate_metrics),
        notes=(*exclusion_note("base", left, clean_left), *exclusion_note("candidate", right, clean_right), *note),
    )


def _is_finite(metric: str, runs: Iterable[Run]) -> bool:
    return all(math.isfinite(run.metrics.get(metric, 0.0)) for run in runs)


def _with_request_evidence(
    metrics: tuple[MetricChange, ...], base: Run, candidate: Run
) -> tuple[tuple[MetricChange, ...], tuple[str, ...]]:
    """Give single runs without evidence of noise that of their requests; with a note if these cannot be read."""
    if not any(metric.basis is Basis.NONE and metric.note != ZERO_NOTE for metric in metrics):
        return metrics, ()
    try:
        return with_request_evidence(metrics, base, candidate), ()
    except ResultError as error:
        return metrics, (f"no evidence from requests: {error.message}",)


def judged(comparison: Comparison) -> Comparison:
    """The comparison with every metric of comparable points judged: Holm over all of them, in each direction."""
    alpha = comparison.thresholds.alpha
    tested = [metric for _, metric in comparison.judged_metrics if metric.p_worse is not None]
    worse = holm([m.p_worse for m in tested if m.p_worse is not None])
    better = holm([m.p_better for m in tested if m.p_better is not None])
    significant = {id(m): (w < alpha, b < alpha) for m, w, b in zip(tested, worse, better, strict=True)}

    def verdict(point: PointChange, metric: MetricChange) -> MetricChange:
        if not point.comparable:
            return replace(metric, change=ChangeVerdict.INCONCLUSIVE, detectable=None, note=NOT_JUDGED)
        return _judged(metric, *significant.get(id(metric), (False, False)))

    points = (replace(p, metrics=tuple(verdict(p, m) for m in p.metrics)) for p in comparison.points)
    return replace(comparison, points=tuple(points))


def _judged(metric: MetricChange, surely_worse: bool, surely_better: bool) -> MetricChange:
    if surely_worse and metric.loss > math.log1p(metric.smallest):
        return replace(metric, change=ChangeVerdict.WORSE)
    if surely_better and -metric.loss > math.log1p(metric.smallest):
        return replace(metric, change=ChangeVerdict.BETTER)
    return metric
