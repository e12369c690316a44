"""Runs that something disturbed as a whole: another process on the machine, a slow start.

A run is an outlier where half of its metrics lie more than 2.5 scales from the median of its own group. One metric
alone never makes a run an outlier, and a change of level moves the group and its median together. Where more than a
third of a group would be outliers, that is how this build behaves, and none is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchhydra.analysis.stats import Floats, robust

Flags = npt.NDArray[np.bool_]

#: Distance from the median, in scales, beyond which a metric speaks against its run.
LIMIT = 2.5
LARGEST_FRACTION = 1 / 3
#: A run is one of the five that its running median is of; this puts back what that takes from the scale.
OWN_WEIGHT = 1.25


def outlier_runs(logs: Floats, scales: Floats) -> Flags:
    """Which runs of a group are outliers: logs (..., metrics, runs) with scales (..., metrics) -> (..., runs)."""
    distance = np.abs(logs - np.median(logs, axis=-1, keepdims=True)) / scales[..., None]
    far = np.median(distance, axis=-2) > LIMIT
    return np.asarray(far & (far.sum(axis=-1, keepdims=True) <= LARGEST_FRACTION * logs.shape[-1]))


def outlier_scales(groups: Sequence[Floats]) -> Floats:
    """Robust run-to-run scales (...) of groups (..., runs_i), each with a level of its own."""
    residuals = np.concatenate([g - np.median(g, axis=-1, keepdims=True) for g in groups], axis=-1)
    return np.maximum(robust.rough_scale(residuals, max(1, robust.freedom(groups))), robust.SMALLEST_SCALE)


def series_outliers(logs: Floats) -> Flags:
    """Which runs of a series (metrics, runs) are outliers among their neighbours, whatever steps it has -> (runs,)."""
    residuals = logs - running_median(logs)
    scales = OWN_WEIGHT * robust.rough_scale(residuals, residuals.shape[-1])
    return outlier_runs(residuals, np.maximum(scales, robust.SMALLEST_SCALE))


def running_median(logs: Floats) -> Floats:
    """The median of five neighbours at each place of series (..., runs)."""
    padded = np.pad(logs, [(0, 0)] * (logs.ndim - 1) + [(2, 2)], mode="reflect")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 5, axis=-1), axis=-1))
