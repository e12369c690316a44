"""Changes without the drift of their runs: a machine that gets slower while it measures makes the later side worse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchhydra.analysis.comparison import Basis, Comparison, MetricChange, PointChange
from benchhydra.analysis.runs import Run
from benchhydra.analysis.stats import Floats, drift, student_t
from benchhydra.result import Better


def without_drift(comparison: Comparison, alpha: float = drift.DRIFT_ALPHA) -> Comparison:
    """The comparison with the changes of points whose runs drift in time freed of it, and a note that says so.

    alpha: p below which they drift.
    """
    return replace(comparison, points=tuple(_without_drift(point, alpha) for point in comparison.points))


class _Session(NamedTuple):
    """Runs in the order of time, with their places in it. distance: how many runs lie between the sides, on average."""

    sides: Sequence[Sequence[Run]]
    places: Sequence[Floats]
    distance: float


def _without_drift(point: PointChange, alpha: float) -> PointChange:
    if point.used_runs is None:
        return point
    metrics = sorted((m for m in point.metrics if m.has_run_evidence), key=lambda m: not m.is_main or bool(m.same_as))
    main = sum(metric.is_main and not metric.same_as for metric in metrics)
    if not main:
        return point
    session = _session(*point.used_runs, base_is_history=metrics[0].basis is Basis.HISTORY)
    if not all(run.metrics.get(m.metric, 0.0) > 0 for side in session.sides for run in side for m in metrics):
        return point
    scale = np.array([metric.noise for metric in metrics], dtype=np.float64)
    logs = [_losses(side, metrics) for side in session.sides]
    slopes = drift.common_slopes(logs, session.places, scale, slice(main))
    if slopes is None or float(slopes.p) >= alpha:
        return point
    shifts, errors = slopes.shift(session.distance), slopes.error(scale, session.distance)
    freed = {m.metric: _freed(m, float(s), float(e)) for m, s, e in zip(metrics, shifts, errors, strict=True)}
    return replace(
        point,
        metrics=tuple(freed.get(metric.metric, metric) for metric in point.metrics),
        notes=(*point.notes, _note(float(np.mean(slopes.slopes[:main])))),
    )


def _session(base: Sequence[Run], candidate: Sequence[Run], *, base_is_history: bool) -> _Session:
    """The runs of both sides; a history is no session, so that only the candidate's say how it has drifted since."""
    base, candidate = (sorted(side, key=lambda run: run.epoch_time) for side in (base, candidate))
    if base_is_history:
        places = np.arange(len(candidate), dtype=np.float64)
        return _Session([candidate], [places], float(places.mean()))
    times = [run.epoch_time for run in (*base, *candidate)]
    places = np.argsort(np.argsort(times, kind="stable"), kind="stable").astype(np.float64)
    left, right = places[: len(base)], places[len(base) :]
    return _Session([base, candidate], [left, right], float(right.mean() - left.mean()))


def _losses(runs: Sequence[Run], metrics: Sequence[MetricChange]) -> Floats:
    """Logs of metrics that grow to the worse, (metrics, runs)."""
    signs = np.array([1 if metric.better is Better.SMALLER else -1 for metric in metrics])
    return np.asarray(signs[:, None] * np.log([[run.metrics[metric.metric] for run in runs] for metric in metrics]))


def _freed(metric: MetricChange, shift: float, error: float) -> MetricChange:
    """A change without what drift made of it; it stays where it would be surer without."""
    if metric.error is None or metric.freedom is None or metric.p_worse is None or metric.p_better is None:
        return metric
    loss, error = metric.loss - shift, math.hypot(metric.error, error)
    p_worse = float(student_t.upper_tail(np.array(loss / error), metric.freedom))
    p_better = 1 - p_worse
    is_surer = p_worse < metric.p_worse if metric.loss > 0 else p_better < metric.p_better
    if is_surer:
        return metric
    ratio = math.expm1(loss if metric.better is Better.SMALLER else -loss)
    return replace(metric, ratio=ratio, error=error, p_worse=p_worse, p_better=p_better)


def _note(slope: float) -> str:
    way = "worse" if slope > 0 else "better"
    percent = abs(math.expm1(slope)) * 100
    return (
        f"the runs may drift, their main metrics get {percent:.2g} % {way} with each run: what that explains is left"
        " out of the changes; benchhydra ab alternates the sides"
    )
