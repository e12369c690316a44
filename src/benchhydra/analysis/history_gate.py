"""A gate whose baseline is, for each metric, the newest stable segment of the history of the same point and machine.

Where a system has no history of its own, and exactly one other has one for the same workload and model, the baseline is
that one's: the first run of a new flag is judged, and what differs is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from benchhydra.analysis.compare import compare_point
from benchhydra.analysis.comparison import Basis, Comparison, GateOutcome, MetricChange, PointChange, Problem
from benchhydra.analysis.gate import Decision, Gate
from benchhydra.analysis.noise_model import NoiseModel, positive_values
from benchhydra.analysis.outlier_runs import exclusion_note, without_outliers
from benchhydra.analysis.pairing import runs_by_point, usable_runs
from benchhydra.analysis.problems import point_problems, unread_files
from benchhydra.analysis.run_evidence import ZERO_NOTE, with_run_evidence
from benchhydra.analysis.runs import Run, Runs
from benchhydra.analysis.stats import Floats

#: As ``gate.SPENDING``: with 20 runs of history and more the base is sure, and less is enough.
SPENDING_AGAINST_HISTORY = (0.1, 0.2, 0.5)
#: Usable runs of a point's history that a gate against history needs.
SHORTEST_HISTORY = 5


class HistoryGate(Gate):
    """A gate on one source, against history. ``base`` holds no runs; its kinds are those of the history."""

    spending: ClassVar[tuple[float, ...]] = SPENDING_AGAINST_HISTORY

    def decide(self) -> Decision:
        """Compare each point with its own history, then as any gate."""
        self.history = list(self.history)
        points = [self.point(_point_without_base(runs), runs) for runs in runs_by_point(self.candidate.runs).values()]
        problems = tuple(unread_files(Runs([], {}), self.candidate))
        return self.conclude(Comparison(points=tuple(points), thresholds=self.thresholds, side_problems=problems))

    def point(self, old: PointChange, candidate: Sequence[Run]) -> PointChange:
        """A point against its history."""
        machine, usable = candidate[0].machine, usable_runs(candidate)
        noise_model = NoiseModel(list(self.history), frozenset(run.run_id for run in candidate), candidate)
        point_key = _key_with_history(noise_model, candidate[0])
        base = noise_model.of_point(machine, point_key)
        if usable and len(base) < SHORTEST_HISTORY:
            text = f"{len(base)} runs of history on {machine}, {SHORTEST_HISTORY} needed"
            problem = Problem(outcome=GateOutcome.INCOMPLETE, text=text, point=old.label)
            return replace(old, candidate=tuple(candidate), invalid="base", problems=(problem,))
        if not usable:
            point = replace(old, candidate=tuple(candidate), base=tuple(base), invalid="candidate")
            return replace(point, problems=point_problems(point, self.roles, noise_model, self.points))
        change = compare_point(base, candidate, self.roles, NoiseModel([]), self.points)
        segments = {m.metric: noise_model.segments(machine, point_key, m.metric) for m in change.metrics}
        (clean,) = without_outliers([usable], list(segments), segments)
        metrics = tuple(_against_segments(m, segments[m.metric], clean) for m in change.metrics)
        used_runs = (tuple(base), tuple(clean))
        return replace(change, metrics=metrics, used_runs=used_runs, notes=exclusion_note("candidate", usable, clean))


def _against_segments(metric: MetricChange, segments: Sequence[Floats], candidate: Sequence[Run]) -> MetricChange:
    """A metric against the newest stable segment of its history; older segments lend their noise."""
    values = positive_values(candidate, metric.metric)
    if metric.note == ZERO_NOTE or not values:
        return metric
    *older, newest = segments
    older = [segment for segment in older if len(segment) > 1]
    change = with_run_evidence(metric, newest, np.log(values), older, None)
    return replace(change, base_runs=len(newest), basis=Basis.HISTORY)


def _key_with_history(noise_model: NoiseModel, run: Run) -> str:
    """The key of the run's point; if it has too little history, that of the only other system with enough."""

    def is_long(point_key: str) -> bool:
        return len(noise_model.of_point(run.machine, point_key)) >= SHORTEST_HISTORY

    others = [] if is_long(run.point_key) else [*filter(is_long, noise_model.other_systems(run.machine, run))]
    return others[0] if len(others) == 1 else run.point_key


def _point_without_base(runs: Sequence[Run]) -> PointChange:
    return PointChange(point_key=runs[0].point_key, label=runs[0].label, base=(), candidate=tuple(runs))
