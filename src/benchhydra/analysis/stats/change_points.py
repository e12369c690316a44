"""Steps in the level of a metric over time.

They are found by binary segmentation: the split with the largest standardised difference of means is a step where it
exceeds what shuffled series reach (a permutation test at 1 %, as in E-divisive means; Matteson and James, JASA 109
(2014)); then both sides are searched again. Outliers are clipped to a running median first, so that a single outlier
is no step. Shuffling assumes that runs are exchangeable between steps: slow drift shows as a staircase.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from benchhydra.analysis.stats import Floats
from benchhydra.analysis.stats.outliers import running_median
from benchhydra.analysis.stats.robust import SMALLEST_SCALE, location, scale

#: Fewest runs on either side of a step.
SHORTEST = 4
PERMUTATIONS = 499
STEP_ALPHA = 0.01
#: Shuffled series at a time: most series have no step, and a few dozen shuffles show it.
SHUFFLES = 50


class ChangePoint(NamedTuple):
    """A change of level before run ``at``; ``ratio`` is new level over old level."""

    at: int
    ratio: float


def change_points(values: Sequence[float] | Floats, seed: int = 0) -> list[ChangePoint]:
    """Steps in a series of positive values, in order."""
    logs = np.log(np.asarray(values, dtype=np.float64))
    cuts = _cuts(_clip_outliers(logs), 0, np.random.default_rng(seed))
    if not cuts:
        return []
    bounds = [0, *cuts, len(logs)]
    levels = [_level(logs[a:b]) for a, b in pairwise(bounds)]
    return [ChangePoint(bounds[i], math.exp(levels[i] - levels[i - 1])) for i in range(1, len(levels))]


def segments(values: Sequence[float] | Floats) -> list[Floats]:
    """The logs of a series, cut at its steps."""
    logs = np.log(np.asarray(values, dtype=np.float64))
    return list(np.split(logs, [step.at for step in change_points(values)]))


def scale_of_neighbours(values: Sequence[float]) -> float:
    """Scale of the log from differences of neighbours, which steps do not disturb; quicker than ``robust.scale``."""
    differences = np.abs(np.diff(np.log(values)))
    return max(1.4826 * float(np.median(differences)) / math.sqrt(2), SMALLEST_SCALE)


def _level(logs: Floats) -> float:
    return float(location(logs, scale([logs]) if len(logs) > 1 else np.array(1.0)))


def _clip_outliers(logs: Floats) -> Floats:
    """The series clipped to three scales around its running median of five."""
    if len(logs) < 2 * SHORTEST:
        return logs
    middle = running_median(logs)
    reach = 3 * 1.4826 * float(np.median(np.abs(logs - middle))) * 1.25
    return np.clip(logs, middle - reach, middle + reach)


def _cuts(logs: Floats, start: int, rng: np.random.Generator) -> list[int]:
    """Where a stretch that begins at ``start`` of its series is cut, in order."""
    if len(logs) < 2 * SHORTEST or np.ptp(logs) == 0:
        return []
    heights = _heights(logs)
    best = int(np.argmax(heights))
    if not _beats_chance(logs, float(heights[best]), rng):
        return []
    cut = best + SHORTEST
    return [*_cuts(logs[:cut], start, rng), start + cut, *_cuts(logs[cut:], start + cut, rng)]


def _beats_chance(logs: Floats, height: float, rng: np.random.Generator) -> bool:
    """The permutation test at STEP_ALPHA; it ends as soon as the shuffles that are left cannot make it significant."""
    as_high = 0
    for done in range(0, PERMUTATIONS, SHUFFLES):
        shuffled = rng.permuted(np.tile(logs, (min(SHUFFLES, PERMUTATIONS - done), 1)), axis=1)
        as_high += int((_heights(shuffled).max(axis=-1) >= height).sum())
        if (as_high + 1) / (PERMUTATIONS + 1) > STEP_ALPHA:
            return False
    return True


def _heights(logs: Floats) -> Floats:
    """Standardised difference of means (a two-sample t) for each split that leaves SHORTEST runs on both sides."""
    count = logs.shape[-1]
    left = np.arange(SHORTEST, count - SHORTEST + 1)
    centred = logs - logs.mean(axis=-1, keepdims=True)
    before = np.cumsum(centred, axis=-1)[..., left - 1]
    between = before**2 * (1 / left + 1 / (count - left))
    within = np.maximum((centred**2).sum(axis=-1, keepdims=True) - between, 1e-18)
    return np.asarray(np.sqrt(between / within))
