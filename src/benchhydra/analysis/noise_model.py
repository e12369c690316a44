"""What history says about the run-to-run noise of a metric on a kind of machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from benchhydra.analysis.outlier_runs import history_without_outliers
from benchhydra.analysis.runs import Run
from benchhydra.analysis.stats import Floats
from benchhydra.analysis.stats.change_points import scale_of_neighbours, segments
from benchhydra.analysis.stats.robust import VariancePrior

#: Only this many newest runs of a point are used: a machine's noise changes over the years.
NEWEST = 60
#: Degrees of freedom of the scale that other points of a metric lend.
PRIOR_FREEDOM = 4.0
#: A point with so many runs of its own needs no prior.
ENOUGH_RUNS = 5


@dataclass
class NoiseModel:
    """Noise by machine, point and metric, from the usable runs of a history. exclude: run_ids that take no part."""

    history: Sequence[Run]
    exclude: frozenset[str] = frozenset()
    _priors: dict[tuple[str, str], VariancePrior | None] = field(default_factory=dict)
    _points: dict[tuple[str, str], list[Run]] = field(default_factory=dict)
    _segments: dict[tuple[str, str, str], list[Floats]] = field(default_factory=dict)

    @cached_property
    def by_point(self) -> dict[tuple[str, str], list[Run]]:
        """Usable runs of each (machine, point_key), oldest first."""
        groups: dict[tuple[str, str], list[Run]] = {}
        for run in self.history:
            if run.usable and run.run_id not in self.exclude:
                groups.setdefault((run.machine, run.point_key), []).append(run)
        return groups

    def of_point(self, machine: str, point_key: str) -> list[Run]:
        """The newest usable runs of a point on a kind of machine, oldest first, without outlier runs."""
        key = machine, point_key
        if key not in self._points:
            self._points[key] = history_without_outliers(self.by_point.get(key, [])[-NEWEST:])
        return self._points[key]

    def segments(self, machine: str, point_key: str, metric: str) -> list[Floats]:
        """Logs of a metric's history, one array a stable segment; the newest is the last."""
        key = machine, point_key, metric
        if key not in self._segments:
            values = positive_values(self.of_point(machine, point_key), metric)
            self._segments[key] = segments(values) if values else []
        return self._segments[key]

    def groups(self, machine: str, point_key: str, metric: str) -> list[Floats]:
        """The segments of more than one run: those that know a scale."""
        return [segment for segment in self.segments(machine, point_key, metric) if len(segment) > 1]

    def prior(self, machine: str, point_key: str, metric: str) -> VariancePrior | None:
        """The noise of a metric in other points on this kind of machine, for a point with little history of its own."""
        if len(self.of_point(machine, point_key)) >= ENOUGH_RUNS:
            return None
        if (machine, metric) not in self._priors:
            self._priors[machine, metric] = self._prior(machine, metric)
        return self._priors[machine, metric]

    def _prior(self, machine: str, metric: str) -> VariancePrior | None:
        point_keys = [point_key for of_machine, point_key in self.by_point if of_machine == machine]
        series = [positive_values(self.of_point(machine, point_key), metric) for point_key in point_keys]
        scales = [scale_of_neighbours(values) for values in series if len(values) >= ENOUGH_RUNS]
        return VariancePrior(float(np.median(scales)), PRIOR_FREEDOM) if scales else None


def positive_values(runs: Iterable[Run], metric: str) -> list[float]:
    """Values of a metric that have a logarithm."""
    return [value for run in runs if (value := run.metrics.get(metric, 0.0)) > 0]
