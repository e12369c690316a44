"""The history of each metric of each point on one kind of machine: its values over time, and the steps in its level."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import numpy as np

from benchhydra.analysis.pairing import varying_settings
from benchhydra.analysis.runs import MetricKind, Run, Runs
from benchhydra.analysis.stats import robust
from benchhydra.analysis.stats.change_points import ChangePoint, change_points
from benchhydra.result import Better


@dataclass(frozen=True, kw_only=True)
class LevelChange:
    """A step in a history, between two consecutive runs; ``better`` is None for an observation."""

    step: ChangePoint
    before: Run
    after: Run
    better: bool | None


@dataclass(frozen=True, kw_only=True)
class MetricHistory:
    """One metric of one point on one kind of machine, oldest first: its usable runs with a value above 0.

    system: the settings in which the point differs from others of the same label on that machine.
    """

    metric: str
    kind: MetricKind
    runs: tuple[Run, ...]
    values: tuple[float, ...]
    changes: tuple[LevelChange, ...]
    system: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def noise(self) -> float | None:
        """Run-to-run scale of the log around the levels; None where no segment has two runs."""
        segments = np.split(np.log(self.values), [change.step.at for change in self.changes])
        groups = [segment for segment in segments if len(segment) > 1]
        return float(robust.scale(groups)) if groups else None


def metric_histories(source: Runs, pattern: str = "*") -> Iterator[MetricHistory]:
    """The histories of metrics that match a pattern, point by point; observations only where it is their whole name."""
    points = list(_usable_by_point(source.runs))
    for runs, system in zip(points, _systems(points), strict=True):
        for metric in dict.fromkeys(key for run in runs for key in run.metrics):
            kind = source.kinds[metric]
            directed = kind.better is not Better.OBSERVATION
            if metric == pattern or (directed and fnmatchcase(metric, pattern)):
                yield from (replace(history, system=system) for history in _history(metric, kind, runs))


def _usable_by_point(runs: Iterable[Run]) -> Collection[list[Run]]:
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.usable:
            groups.setdefault((run.machine, run.point_key), []).append(run)
    return groups.values()


def _systems(points: Sequence[Sequence[Run]]) -> list[Mapping[str, Any]]:
    """Of each point, the settings in which it differs from those of the same label on the same kind of machine."""
    groups: dict[tuple[str, str], list[int]] = {}
    for i, runs in enumerate(points):
        groups.setdefault((runs[-1].machine, runs[-1].label), []).append(i)
    systems: list[Mapping[str, Any]] = [{} for _ in points]
    for group in groups.values():
        if len(group) > 1:
            for i, settings in zip(group, varying_settings([points[i][-1] for i in group]), strict=True):
                systems[i] = settings
    return systems


def _history(metric: str, kind: MetricKind, runs: list[Run]) -> Iterator[MetricHistory]:
    """The history of a metric; none where no run has a value above 0."""
    measured = tuple(run for run in runs if run.metrics.get(metric, 0.0) > 0)
    if not measured:
        return
    values = tuple(run.metrics[metric] for run in measured)
    changes = tuple(
        LevelChange(
            step=step,
            before=measured[step.at - 1],
            after=measured[step.at],
            better=_is_better(kind.better, step.ratio),
        )
        for step in change_points(np.array(values))
    )
    yield MetricHistory(metric=metric, kind=kind, runs=measured, values=values, changes=changes)


def _is_better(direction: Better, ratio: float) -> bool | None:
    return None if direction is Better.OBSERVATION else (ratio > 1) is (direction is Better.BIGGER)
