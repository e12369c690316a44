"""What is known about the run-to-run noise of a metric on a kind of machine, from history and from other metrics.

History follows system and workload: a point's own history lends its noise; for want of that, the points lend theirs
that share its system or its workload, and if none does, all points on that machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from benchhydra.analysis.outlier_runs import history_without_outliers
from benchhydra.analysis.pairing import Settings, point_settings_of, workload_and_system
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
    """Noise by machine, point and metric, from the usable runs of a history. exclude: run_ids that take no part.

    compared: runs of the compared points, which say what their systems and workloads are. lent: what the metrics of the
    comparison say about one another (shared_noise.py), by key of the candidate's point and metric.
    """

    history: Sequence[Run]
    exclude: frozenset[str] = frozenset()
    compared: Sequence[Run] = ()
    lent: Mapping[tuple[str, str], VariancePrior] = field(default_factory=dict)
    _priors: dict[tuple[str, str, str], VariancePrior | None] = field(default_factory=dict)
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

    def groups(self, machine: str, point_keys: Iterable[str], metric: str) -> list[Floats]:
        """The segments of more than one run of a metric at these points: those that know a scale."""
        return [
            segment
            for point_key in dict.fromkeys(point_keys)
            for segment in self.segments(machine, point_key, metric)
            if len(segment) > 1
        ]

    def prior(self, machine: str, point_keys: Sequence[str], metric: str) -> VariancePrior | None:
        """The noise of a metric elsewhere, for a pair of points with little history of its own; the last is the
        candidate's. Of history's and the comparison's own, the one with more degrees of freedom.
        """
        if any(len(self.of_point(machine, point_key)) >= ENOUGH_RUNS for point_key in point_keys):
            return None
        key = machine, point_keys[-1], metric
        if key not in self._priors:
            self._priors[key] = self._prior(*key)
        priors = [prior for prior in (self._priors[key], self.lent.get(key[1:])) if prior is not None]
        return max(priors, key=lambda prior: float(prior.freedom), default=None)

    def _prior(self, machine: str, point_key: str, metric: str) -> VariancePrior | None:
        others = [other for of_machine, other in self.by_point if of_machine == machine]
        related = [other for other in others if self._are_related(point_key, other)]
        for point_keys in (related, others):
            series = [positive_values(self.of_point(machine, each), metric) for each in point_keys]
            scales = [scale_of_neighbours(values) for values in series if len(values) >= ENOUGH_RUNS]
            if scales:
                return VariancePrior(float(np.median(scales)), PRIOR_FREEDOM)
        return None

    def other_systems(self, machine: str, run: Run) -> list[str]:
        """The points with a run's workload and model on this machine whose systems differ from its own."""
        workload = self._halves.get(run.point_key, ({}, {}))[0]
        return [
            point_key
            for of_machine, point_key in self.by_point
            if of_machine == machine
            and point_key != run.point_key
            and workload
            and self._halves.get(point_key, ({}, {}))[0] == workload
            and self.by_point[of_machine, point_key][-1].model == run.model
        ]

    def _are_related(self, point_key: str, other: str) -> bool:
        """Whether two points share their system or their workload."""
        if not {point_key, other} <= self._halves.keys():
            return False
        return any(mine == theirs for mine, theirs in zip(self._halves[point_key], self._halves[other], strict=True))

    @cached_property
    def _halves(self) -> dict[str, tuple[Settings, Settings]]:
        """(workload, system) of each point that records its settings."""
        newest = {run.point_key: run for run in (*self.history, *self.compared)}
        settings = {point_key: point_settings_of(run) for point_key, run in newest.items()}
        return {point_key: workload_and_system(of_point) for point_key, of_point in settings.items() if of_point}


def positive_values(runs: Iterable[Run], metric: str) -> list[float]:
    """Values of a metric that have a logarithm."""
    return [value for run in runs if (value := run.metrics.get(metric, 0.0)) > 0]
