"""Series of one metric over time: steps in its level, and the noise around them.

Steps are found by binary segmentation: the split with the largest standardised difference of means is a step where it
exceeds what shuffled series reach (a permutation test at 1 %, as in E-divisive means; Matteson and James, JASA 109
(2014)); then both sides are searched again. Outliers are clipped to a running median first, so that a single odd run
is no step. Shuffling assumes runs that are exchangeable between steps: slow drift shows as a staircase.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from benchhydra.analysis.runs import Run
from benchhydra.analysis.stats.outliers import drop_outliers, running_median
from benchhydra.analysis.stats.robust import SMALLEST_SCALE, Floats, VariancePrior, location, scale

#: Fewest runs on either side of a step.
SHORTEST = 4
PERMUTATIONS = 499
STEP_ALPHA = 0.01
#: Shuffled series at a time: most series have no step, and a few dozen of them show it.
SHUFFLES = 50
#: Only this many newest runs make the noise floor: a machine's noise changes over the years.
NEWEST = 60
#: How much the scale of other points of a metric counts, in runs, and what a point needs not to ask for it.
PRIOR_FREEDOM = 4.0
OWN_ENOUGH = 5


class ChangePoint(NamedTuple):
    """A change of level before run ``at``; ``ratio`` is new level over old level."""

    at: int
    ratio: float


def change_points(values: Sequence[float] | Floats, seed: int = 0) -> list[ChangePoint]:
    """Steps in a series of positive values, in order."""
    logs = np.log(np.asarray(values, dtype=np.float64))
    cuts = _splits(_without_outliers(logs), 0, np.random.default_rng(seed))
    if not cuts:
        return []
    bounds = [0, *cuts, len(logs)]
    levels = [_level(logs[a:b]) for a, b in pairwise(bounds)]
    return [ChangePoint(bounds[i], math.exp(levels[i] - levels[i - 1])) for i in range(1, len(levels))]


def segments(values: Sequence[float] | Floats) -> list[Floats]:
    """The logs of a series, cut at its steps."""
    logs = np.log(np.asarray(values, dtype=np.float64))
    return list(np.split(logs, [step.at for step in change_points(values)]))


def _level(logs: Floats) -> float:
    spread = scale([logs]) if len(logs) > 1 else np.array(1.0)
    return float(location(logs, spread))


def _without_outliers(logs: Floats) -> Floats:
    """The series clipped to three scales around its running median of five."""
    if len(logs) < 2 * SHORTEST:
        return logs
    middle = running_median(logs)
    reach = 3 * 1.4826 * float(np.median(np.abs(logs - middle))) * 1.25
    return np.clip(logs, middle - reach, middle + reach)


def _splits(logs: Floats, start: int, rng: np.random.Generator) -> list[int]:
    if len(logs) < 2 * SHORTEST or np.ptp(logs) == 0:
        return []
    heights = _heights(logs)
    best = int(np.argmax(heights))
    if not _beats_chance(logs, float(heights[best]), rng):
        return []
    cut = best + SHORTEST
    return [*_splits(logs[:cut], start, rng), start + cut, *_splits(logs[cut:], start + cut, rng)]


def _beats_chance(logs: Floats, height: float, rng: np.random.Generator) -> bool:
    """The permutation test at STEP_ALPHA; it ends as soon as no further shuffle can make it say yes."""
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


@dataclass
class NoiseModel:
    """The noise floor: what history says about run-to-run noise on a kind of machine, without INVALID runs."""

    runs: list[Run]
    without: frozenset[str] = frozenset()
    _priors: dict[tuple[str, str], VariancePrior | None] = field(default_factory=dict)
    _points: dict[tuple[str, str], list[Run]] = field(default_factory=dict)
    _stretches: dict[tuple[str, str, str], list[Floats]] = field(default_factory=dict)

    @cached_property
    def by_point(self) -> dict[tuple[str, str], list[Run]]:
        """Usable runs of each (machine, point_key), oldest first."""
        found: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            if run.usable and run.run_id not in self.without:
                found.setdefault((run.machine, run.point_key), []).append(run)
        return found

    def of_point(self, machine: str, point_key: str) -> list[Run]:
        """The newest usable runs of a point on a kind of machine, oldest first, without odd ones."""
        if (machine, point_key) not in self._points:
            self._points[machine, point_key] = drop_outliers(self.by_point.get((machine, point_key), [])[-NEWEST:])
        return self._points[machine, point_key]

    def groups(self, machine: str, point_key: str, metric: str) -> list[Floats]:
        """Logs of a metric's history, one array a stable stretch."""
        return [group for group in self.stretches(machine, point_key, metric) if len(group) > 1]

    def stretches(self, machine: str, point_key: str, metric: str) -> list[Floats]:
        """As ``groups``, with stretches of a single run."""
        key = (machine, point_key, metric)
        if key not in self._stretches:
            values = positive(self.of_point(machine, point_key), metric)
            self._stretches[key] = segments(values) if values else []
        return self._stretches[key]

    def prior(self, machine: str, point_key: str, metric: str) -> VariancePrior | None:
        """The noise of a metric in other points on this kind of machine, for a point with little history of its own."""
        if len(self.of_point(machine, point_key)) >= OWN_ENOUGH:
            return None
        if (machine, metric) not in self._priors:
            self._priors[machine, metric] = self._prior(machine, metric)
        return self._priors[machine, metric]

    def _prior(self, machine: str, metric: str) -> VariancePrior | None:
        scales = []
        for where, key in self.by_point:
            values = positive(self.of_point(machine, key), metric) if where == machine else []
            if len(values) >= OWN_ENOUGH:
                scales.append(scale_of_neighbours(values))
        return VariancePrior(float(np.median(scales)), PRIOR_FREEDOM) if scales else None


def scale_of_neighbours(values: Sequence[float]) -> float:
    """Scale of the log from differences of neighbours, which steps do not disturb; quicker than ``scale``."""
    differences = np.abs(np.diff(np.log(values)))
    return max(1.4826 * float(np.median(differences)) / math.sqrt(2), SMALLEST_SCALE)


def positive(runs: Iterable[Run], metric: str) -> list[float]:
    """Values of a metric that have a logarithm."""
    return [value for run in runs if (value := run.metrics.get(metric, 0.0)) > 0]
