"""Runs that something disturbed as a whole: a neighbour on the machine, a slow start. Left out, and named.

A run is odd where half of its metrics lie more than 2.5 scales from the median of its own group. One metric alone never
makes a run odd, and a change of level moves the group and its median together. Where more than a third of a group
would be odd, that is how this build behaves, and nothing is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchhydra.analysis.runs import Run
from benchhydra.analysis.stats import robust
from benchhydra.analysis.stats.robust import Floats

Flags = npt.NDArray[np.bool_]

LIMIT = 2.5
MOST = 1 / 3
#: Of fewer metrics, "half of them" says too little.
LEAST_METRICS = 5
#: A history shorter than this has no neighbours to speak of.
LEAST_RUNS = 8
#: A run is one of the five that its running median is of; this puts back what that takes from the scale.
OWN_SHARE = 1.25


def outlier_runs(logs: Floats, scales: Floats) -> Flags:
    """Which runs of a group are odd: logs (..., metrics, runs) with scales (..., metrics) -> (..., runs)."""
    distance = np.abs(logs - np.median(logs, axis=-1, keepdims=True)) / scales[..., None]
    far = np.median(distance, axis=-2) > LIMIT
    return np.asarray(far & (far.sum(axis=-1, keepdims=True) <= MOST * logs.shape[-1]))


def outlier_scales(groups: Sequence[Floats]) -> Floats:
    """Robust run-to-run scales (...) of groups (..., runs_i), each with a level of its own."""
    residuals = np.concatenate([g - np.median(g, axis=-1, keepdims=True) for g in groups], axis=-1)
    return np.maximum(robust.rough_scale(residuals, max(1, robust.freedom(groups))), robust.SMALLEST_SCALE)


def outlier_mask(
    sides: Sequence[Sequence[Run]], metrics: Sequence[str], others: dict[str, list[Floats]]
) -> list[list[Run]]:
    """The runs of each side that are not odd. ``others``: more groups that lend a metric their scale."""
    shared = _shared([run for side in sides for run in side], metrics)
    logs = [_logs(side, shared) for side in sides]
    rows = [[*(side[i] for side in logs), *others.get(key, ())] for i, key in enumerate(shared)]
    found = np.array([outlier_scales(groups) for groups in rows])
    moving = found > robust.SMALLEST_SCALE
    if moving.sum() < LEAST_METRICS:
        return [list(side) for side in sides]
    return [_kept(side, own[moving], found[moving]) for side, own in zip(sides, logs, strict=True)]


def left_out(name: str, before: Sequence[Run], after: Sequence[Run]) -> tuple[str, ...]:
    """A line about the runs that a side lost, if any."""
    gone = [run.run_id for run in before if run not in after]
    return (f"left out of the {name}, far from its other runs in most metrics: run {', '.join(gone)}",) if gone else ()


def _kept(runs: Sequence[Run], logs: Floats, spread: Floats) -> list[Run]:
    return [run for run, gone in zip(runs, outlier_runs(logs, spread), strict=True) if not gone]


def drop_outliers(runs: list[Run]) -> list[Run]:
    """A history without odd runs: those far from the median of their neighbours, whatever steps there are."""
    if len(runs) < LEAST_RUNS:
        return runs
    logs = _logs(runs, _shared(runs, list(runs[0].metrics)))
    logs = logs[np.ptp(logs, axis=-1) > robust.SMALLEST_SCALE]
    if len(logs) < LEAST_METRICS:
        return runs
    residuals = logs - running_median(logs)
    spread = OWN_SHARE * robust.rough_scale(residuals, residuals.shape[-1])
    return _kept(runs, residuals, np.maximum(spread, robust.SMALLEST_SCALE))


def running_median(logs: Floats) -> Floats:
    """The median of five neighbours at each place of series (..., runs)."""
    padded = np.pad(logs, [(0, 0)] * (logs.ndim - 1) + [(2, 2)], mode="reflect")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 5, axis=-1), axis=-1))


def _shared(runs: Sequence[Run], metrics: Sequence[str]) -> list[str]:
    return [key for key in metrics if all(run.metrics.get(key, 0.0) > 0 for run in runs)]


def _logs(runs: Sequence[Run], metrics: Sequence[str]) -> Floats:
    values = [[run.metrics[key] for run in runs] for key in metrics]
    return np.log(np.array(values, dtype=np.float64).reshape(len(metrics), len(runs)))
