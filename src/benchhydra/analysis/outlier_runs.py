"""Runs without the outliers among them, which are named: stats/outliers.py decides over all metrics of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchhydra.analysis.runs import Run
from benchhydra.analysis.stats import Floats, outliers, robust

#: Of fewer metrics, "half of them" says too little.
FEWEST_METRICS = 5
#: A history shorter than this has too few neighbours.
SHORTEST_HISTORY = 8


def without_outliers(
    sides: Sequence[Sequence[Run]], metrics: Sequence[str], history: Mapping[str, Sequence[Floats]]
) -> list[list[Run]]:
    """The runs of each side that are no outliers. history: groups of logs, by metric, that lend their scale."""
    shared = _shared_metrics([run for side in sides for run in side], metrics)
    logs = [_logs(side, shared) for side in sides]
    groups = [[*(side[i] for side in logs), *history.get(key, ())] for i, key in enumerate(shared)]
    scales = np.array([outliers.outlier_scales(of_metric) for of_metric in groups])
    varying = scales > robust.SMALLEST_SCALE
    if varying.sum() < FEWEST_METRICS:
        return [list(side) for side in sides]
    flags = [outliers.outlier_runs(side[varying], scales[varying]) for side in logs]
    return [_unflagged(side, flagged) for side, flagged in zip(sides, flags, strict=True)]


def history_without_outliers(runs: list[Run]) -> list[Run]:
    """The runs of a history that are no outliers among their neighbours, whatever steps there are."""
    if len(runs) < SHORTEST_HISTORY:
        return runs
    logs = _logs(runs, _shared_metrics(runs, list(runs[0].metrics)))
    logs = logs[np.ptp(logs, axis=-1) > robust.SMALLEST_SCALE]
    if len(logs) < FEWEST_METRICS:
        return runs
    return _unflagged(runs, outliers.series_outliers(logs))


def exclusion_note(side: str, before: Sequence[Run], after: Sequence[Run]) -> tuple[str, ...]:
    """A line about the runs that a side lost, if any."""
    run_ids = [run.run_id for run in before if run not in after]
    if not run_ids:
        return ()
    return (f"outliers left out of the {side}, far from its other runs in most metrics: run {', '.join(run_ids)}",)


def _unflagged(runs: Sequence[Run], flags: outliers.Flags) -> list[Run]:
    return [run for run, flagged in zip(runs, flags, strict=True) if not flagged]


def _shared_metrics(runs: Sequence[Run], metrics: Sequence[str]) -> list[str]:
    """The metrics that have a logarithm in every run."""
    return [key for key in metrics if all(run.metrics.get(key, 0.0) > 0 for run in runs)]


def _logs(runs: Sequence[Run], metrics: Sequence[str]) -> Floats:
    values = [[run.metrics[key] for run in runs] for key in metrics]
    return np.log(np.array(values, dtype=np.float64).reshape(len(metrics), len(runs)))
