"""Two sets of runs, point by point and metric by metric: how much changed, and how sure that is.

judgement.py makes verdicts of it, when all points are there. INVALID runs take no part. Points whose figures cannot be
compared (problems.py) are shown, but not judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchhydra.analysis.comparison import Basis, Comparison, MetricChange, PointChange
from benchhydra.analysis.config_diff import config_differences
from benchhydra.analysis.drift import without_drift
from benchhydra.analysis.equal_metrics import equal_metrics
from benchhydra.analysis.judgement import judged
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
from benchhydra.analysis.shared_noise import UsedRuns, lent_noise
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.errors import ResultError
from benchhydra.similar_texts import natural_order

BY_WORKLOAD = Pairing()


def compare(
    base: Runs, candidate: Runs, *, thresholds: Thresholds, history: Iterable[Run] = (), pairing: Pairing = BY_WORKLOAD
) -> Comparison:
    """Compare two sources, point by point as ``pairing`` says. Raises ConfigError if it does not tell points apart."""
    return judged(without_drift(evidence_of_sides(base, candidate, thresholds, history, pairing)))


def evidence_of_sides(
    base: Runs, candidate: Runs, thresholds: Thresholds, history: Iterable[Run], pairing: Pairing
) -> Comparison:
    """A comparison that is not judged yet, and whose runs may drift."""
    left, right = runs_by_point(base.runs), runs_by_point(candidate.runs)
    roles = MetricRoles.of_sides(base, candidate, thresholds)
    pairs = pairing.pairs(left, right)
    noise_model = noise_of_pairs([(left[a], right[b]) for a, b in pairs], roles, history)
    paired_left, paired_right = {a for a, _ in pairs}, {b for _, b in pairs}
    only_base = tuple(runs[0].label for key, runs in left.items() if key not in paired_left)
    only_candidate = tuple(runs[0].label for key, runs in right.items() if key not in paired_right)
    points = tuple(compare_point(left[a], right[b], roles, noise_model, len(pairs)) for a, b in pairs)
    points = tuple(sorted(points, key=lambda point: natural_order(point.label)))
    if not pairing.by:
        points = tuple(with_workload_problem(point) for point in points)
    return Comparison(
        points=points,
        only_base=only_base,
        only_candidate=only_candidate,
        thresholds=thresholds,
        side_problems=(
            *same_runs(base, candidate),
            *unpaired_points(only_base, only_candidate, len(pairs), "" if pairs else why_unpaired(left, right)),
        ),
    )


def noise_of_pairs(
    pairs: Sequence[tuple[Sequence[Run], Sequence[Run]]], roles: MetricRoles, history: Iterable[Run]
) -> NoiseModel:
    """What history, and the metrics of all pairs of points, say about noise."""
    compared = [run for pair in pairs for side in pair for run in side]
    noise_model = NoiseModel(list(history), frozenset(run.run_id for run in compared), compared)
    used = [_used_runs(left, right, roles, noise_model) for left, right in pairs]
    noise_model.lent = lent_noise([runs for runs in used if runs.base and runs.candidate], noise_model)
    return noise_model


def compare_point(
    base: Sequence[Run], candidate: Sequence[Run], roles: MetricRoles, noise_model: NoiseModel, points: int = 1
) -> PointChange:
    """One of ``points`` points with the evidence of its metrics: ``judged`` needs those of all points."""
    left, right = usable_runs(base), usable_runs(candidate)
    differences = config_differences(base[-1], candidate[-1])
    change = PointChange(
        point_key=candidate[-1].point_key,
        label=candidate[-1].label,
        base=tuple(base),
        candidate=tuple(candidate),
        differences=differences.settings,
        definitions=differences.definitions,
        invalid="candidate" if not right else "base" if not left else "",
    )
    change = replace(change, problems=point_problems(change, roles, noise_model, points))
    if change.invalid:
        return change
    used = _used_runs(base, candidate, roles, noise_model)
    base_metrics = dict.fromkeys(key for run in left for key in run.metrics)
    candidate_metrics = {key for run in used.candidate for key in run.metrics}
    metrics = tuple(
        metric_change(key, used.base, used.candidate, roles.kinds[key], roles.thresholds, noise_model)
        for key in used.metrics
        if key in candidate_metrics
    )
    metrics, note = _with_request_evidence(metrics, used.base[-1], used.candidate[-1])
    change = replace(
        change,
        metrics=metrics,
        missing=tuple(key for key in base_metrics if key not in candidate_metrics),
        used_runs=(tuple(used.base), tuple(used.candidate)),
        notes=(
            *exclusion_note("base", left, used.base),
            *exclusion_note("candidate", right, used.candidate),
            *note,
        ),
    )
    return _with_roles(change, roles)


def _used_runs(base: Sequence[Run], candidate: Sequence[Run], roles: MetricRoles, noise_model: NoiseModel) -> UsedRuns:
    """The usable runs of a point without the outliers among them; empty sides if one has no usable run."""
    left, right = usable_runs(base), usable_runs(candidate)
    if not left or not right:
        return UsedRuns([], [], [])
    names = dict.fromkeys(key for run in left for key in run.metrics)
    metrics = [key for key in names if roles.judges(key) and _is_finite(key, (*left, *right))]
    machine, point_keys = right[-1].machine, (left[-1].point_key, right[-1].point_key)
    history = {key: noise_model.groups(machine, point_keys, key) for key in metrics}
    clean_left, clean_right = without_outliers([left, right], metrics, history)
    return UsedRuns(clean_left, clean_right, metrics)


def _with_roles(point: PointChange, roles: MetricRoles) -> PointChange:
    """The point with what the verdict needs of its metrics: whether it depends on one, and which are one and the same.

    Where none is a main one, the verdict depends on all.
    """
    names = [metric.metric for metric in point.metrics]
    main = {name for name in names if roles.is_main(point.candidate[-1].script, name)} or set(names)
    metrics = tuple(replace(metric, is_main=metric.metric in main) for metric in point.metrics)
    stand_ins = equal_metrics([replace(point, metrics=metrics)])
    return replace(point, metrics=tuple(replace(m, same_as=stand_ins.get(m.metric, "")) for m in metrics))


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
