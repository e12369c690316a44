"""Drift: what changes from run to run within both sides changes between them too, and is no difference of the builds.

A common slope over the order of the runs is fitted within the groups (analysis of covariance; Fisher, *Statistical
Methods for Research Workers*, 1932). Whether there is one is tested on the mean of the main metrics, each in units of
its noise: what slows a machine slows all of them. One metric alone would need far more runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchhydra.analysis.stats import Floats, student_t
from benchhydra.analysis.stats.robust import SMALLEST_SCALE

#: Two-sided p below which runs drift. To take out a drift that is none costs nearly all power of few runs.
DRIFT_ALPHA = 0.05
#: The same after re-runs, which are enough that it costs little; a drift that is missed makes more false alarms there.
DRIFT_ALPHA_OF_RERUNS = 0.2
#: Fewer degrees of freedom say nothing about a slope.
FEWEST_DEGREES = 2


class Slopes(NamedTuple):
    """Slopes of each metric, (..., metrics), in logs a run, and how certain they are."""

    slopes: Floats
    squares: float  # sum of squares of the positions around their groups' means
    p: Floats  # two-sided, that there is no common drift: (...)

    def shift(self, distance: float) -> Floats:
        """What the drift alone makes of a difference over ``distance`` runs."""
        return self.slopes * distance

    def error(self, scale: Floats, distance: float) -> Floats:
        """Standard error of that shift."""
        return scale * abs(distance) / math.sqrt(self.squares)


def common_slopes(groups: Sequence[Floats], positions: Sequence[Floats], scale: Floats, main: slice) -> Slopes | None:
    """Slopes within groups of logs (..., metrics, runs_i), each at its positions (runs_i,); None: too few runs.

    The logs grow to the worse. scale: noise of each metric, (..., metrics). main: the metrics that say whether there is
    drift.
    """
    degrees = sum(map(len, positions)) - len(groups) - 1
    centred = [each - each.mean() for each in positions]
    squares = sum(float((each**2).sum()) for each in centred)
    if degrees < FEWEST_DEGREES or squares <= 0:
        return None
    residuals = [group - group.mean(axis=-1, keepdims=True) for group in groups]
    slopes = sum(((r * c).sum(axis=-1) for r, c in zip(residuals, centred, strict=True)), np.zeros(scale.shape))
    means = [(r[..., main, :] / scale[..., main, None]).mean(axis=-2) for r in residuals]
    slope = sum(((m * c).sum(axis=-1) for m, c in zip(means, centred, strict=True)), np.zeros(scale.shape[:-1]))
    unexplained = sum((m**2).sum(axis=-1) for m in means) - slope**2 / squares
    t = slope / np.sqrt(squares * np.maximum(unexplained / degrees, SMALLEST_SCALE**2))
    return Slopes(slopes / squares, squares, 2 * student_t.upper_tail(np.abs(t), degrees))
