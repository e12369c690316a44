"""The past of each point and metric as series: values by time on one kind of machine, and the steps in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from benchhydra.analysis.runs import MetricKind, Run, Runs
from benchhydra.analysis.stats import robust
from benchhydra.analysis.stats.change_points import ChangePoint, change_points
from benchhydra.result import Better


@dataclass(frozen=True, kw_only=True)
class LevelChange:
    """A step in a series, between two runs that follow each other; ``better`` is None for an observation."""

    step: ChangePoint
    before: Run
    after: Run
    better: bool | None


@dataclass(frozen=True, kw_only=True)
class MetricHistory:
    """One metric of one point on one kind of machine, oldest first, of usable runs with a value above 0."""

    metric: str
    kind: MetricKind
    runs: tuple[Run, ...]
    values: tuple[float, ...]
    changes: tuple[LevelChange, ...]

    @property
    def noise(self) -> float | None:
        """Run-to-run scale of the log around the levels; None for a single run."""
        stretches = np.split(np.log(self.values), [change.step.at for change in self.changes])
        groups = [stretch for stretch in stretches if len(stretch) > 1]
        return float(robust.scale(groups)) if groups else None


def metric_histories(found: Runs, wanted: str = "*") -> Iterator[MetricHistory]:
    """The series of the metrics that match a pattern, point by point; observations only where the pattern names one."""
    points: dict[tuple[str, str], list[Run]] = {}
    for run in found.runs:
        if run.usable:
            points.setdefault((run.machine, run.point_key), []).append(run)
    for runs in points.values():
        for metric in dict.fromkeys(key for run in runs for key in run.metrics):
            judged = found.kinds[metric].better is not Better.OBSERVATION
            if metric == wanted or (judged and fnmatchcase(metric, wanted)):
                yield from _series(metric, found.kinds[metric], runs)


def _series(metric: str, kind: MetricKind, runs: list[Run]) -> Iterator[MetricHistory]:
    there = tuple(run for run in runs if run.metrics.get(metric, 0.0) > 0)
    if not there:
        return
    values = tuple(run.metrics[metric] for run in there)
    changes = tuple(
        LevelChange(step=step, before=there[step.at - 1], after=there[step.at], better=_better(kind.better, step.ratio))
        for step in change_points(np.array(values))
    )
    yield MetricHistory(metric=metric, kind=kind, runs=there, values=values, changes=changes)


def _better(direction: Better, ratio: float) -> bool | None:
    return None if direction is Better.OBSERVATION else (ratio > 1) is (direction is Better.BIGGER)
