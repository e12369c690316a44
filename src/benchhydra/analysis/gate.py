"""May this build pass? Two stages: a loose screen on the runs that are there, then re-runs of what looks worse.

The screen lets through what a 5 % slowdown could look like. Each suspicious point is measured again, up to three
rounds, each of as many runs as the candidate has by then; after each round the old and the new runs together are tested
at that round's share of the false-alarm budget (a group-sequential test whose limits were set by simulation), divided
by the number of metrics that were tested at the start. docs/statistics.md has the measured rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import ClassVar

import numpy as np

from benchhydra.analysis.compare import (
    Basis,
    ChangeVerdict,
    Comparison,
    MetricChange,
    PointChange,
    by_point,
    compare,
    measured,
    point,
    usable,
    verdicts,
)
from benchhydra.analysis.rerun import Rerun
from benchhydra.analysis.runs import Run, Runs
from benchhydra.analysis.stats import outliers
from benchhydra.analysis.stats.change_points import NoiseModel, positive
from benchhydra.analysis.stats.robust import Floats
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.errors import ResultError

#: One-sided p below which a metric is measured again, and above which it is let go after a round.
SCREEN = 0.04
LET_GO = 0.15
#: Shares of the false-alarm budget at which the rounds of re-runs are tested: most of it is kept for the last round,
#: which has the most runs. They add up to more than 1: rounds share their runs and the screen comes first, so fewer
#: alarms are false than the sum says (benchmarks/gate_trials.py).
SPENDING = (0.1, 0.2, 1.0)
#: Against history, whose 20 runs and more make the base sure, less is enough.
SPENDING_AGAINST_HISTORY = (0.1, 0.2, 0.5)
#: History that a gate against history needs.
LEAST_HISTORY = 5


class GateOutcome(IntEnum):
    """The exit codes."""

    FINE = 0
    REGRESSION = 3
    NOTHING_COMPARABLE = 4
    INVALID = 5


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the gate decided and why. ``regressions`` are (point, metric) pairs that are reported."""

    outcome: GateOutcome
    comparison: Comparison
    regressions: tuple[tuple[PointChange, MetricChange], ...] = ()
    reran: tuple[str, ...] = ()
    confirmed: bool = False
    notes: tuple[str, ...] = ()


@dataclass
class Gate:
    """One gate: the two sides, what is known of the machine's noise, and how points are measured again (or not)."""

    base: Runs
    candidate: Runs
    thresholds: Thresholds
    history: Iterable[Run] = ()
    rerun: Rerun | None = None
    reran: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    spending: ClassVar[tuple[float, ...]] = SPENDING

    def decide(self) -> Decision:
        """Compare, measure again what looks worse, and decide."""
        self.history = list(self.history)
        found = compare(self.base, self.candidate, thresholds=self.thresholds, history=self.history)
        return self.conclude(_same_machine(found, self.notes))

    def conclude(self, found: Comparison) -> Decision:
        """The decision on a comparison."""
        suspects = screen(found)
        if self.rerun is None or not suspects:
            return self._decision(found, found, confirmed=False)
        return self._decision(found, self._confirm(found, suspects, self.rerun), confirmed=True)

    def _confirm(self, found: Comparison, suspects: dict[str, set[str]], rerun: Rerun) -> Comparison:
        """The comparison after re-runs: WORSE is what the re-runs have confirmed."""
        family = sum(metric.judged for _, metric in found.metrics) or 1
        confirmed: dict[str, set[str]] = {}
        for share in self.spending:
            limit = share * self.thresholds.alpha / family
            points = (self._again(p, rerun) if p.point_key in suspects else p for p in found.points)
            found = replace(found, points=tuple(points))
            suspects, sure = _sift(found, suspects, limit)
            for key, names in sure.items():
                confirmed.setdefault(key, set()).update(names)
            if not suspects:
                break
        return _settled(found, confirmed)

    def _again(self, old: PointChange, rerun: Rerun) -> PointChange:
        """A point measured again, its candidate's runs old and new together."""
        new = rerun(old.candidate[-1], len(usable(old.candidate)))
        self.reran.append(f"{old.label}: {len(usable(new))} of {len(new)} re-runs usable")
        if not usable(new):
            raise ResultError(f"every re-run of {old.label} is INVALID", hint="--no-confirm decides without re-runs")
        return self.point(old, [*old.candidate, *new])

    def point(self, old: PointChange, candidate: Sequence[Run]) -> PointChange:
        """A point with more runs of the candidate."""
        ids = frozenset(run.run_id for run in (*old.base, *candidate))
        floor = NoiseModel(list(self.history), ids)
        return point(old.base, candidate, self.base.kinds | self.candidate.kinds, self.thresholds, floor)

    def _decision(self, first: Comparison, last: Comparison, *, confirmed: bool) -> Decision:
        last = last if confirmed else verdicts(last)
        worse = tuple((p, m) for p, m in last.metrics if m.change is ChangeVerdict.WORSE and m.judged)
        weak = sum(m.change is ChangeVerdict.WORSE and not m.judged for _, m in last.metrics)
        if weak:
            self.notes.append(f"{weak} metrics look worse within one run a side; that is no proof: repeats=5 gives it")
        return Decision(
            outcome=_outcome(first, bool(worse)),
            comparison=last,
            regressions=worse,
            reran=tuple(self.reran),
            confirmed=confirmed,
            notes=tuple(self.notes),
        )


class AgainstHistory(Gate):
    """A gate whose baseline is, for each metric, the newest stable stretch of history of the same point and machine."""

    spending = SPENDING_AGAINST_HISTORY

    def decide(self) -> Decision:
        """Compare each point with its own history, then as any gate."""
        self.history = list(self.history)
        points = [self.point(_blank(runs), runs) for runs in by_point(self.candidate.runs).values()]
        return self.conclude(verdicts(Comparison(points=tuple(points), thresholds=self.thresholds)))

    def point(self, old: PointChange, candidate: Sequence[Run]) -> PointChange:
        """A point against its history."""
        floor = NoiseModel(list(self.history), frozenset(run.run_id for run in candidate))
        base = floor.of_point(candidate[0].machine, candidate[0].point_key)
        if not usable(candidate):
            return replace(old, candidate=tuple(candidate), base=tuple(base), invalid="candidate")
        if len(base) < LEAST_HISTORY:
            machine = candidate[0].machine
            self.notes.append(f"{old.label}: {len(base)} runs of history on {machine}, {LEAST_HISTORY} needed")
            return replace(old, invalid="base")
        kinds = self.base.kinds | self.candidate.kinds
        found = point(base, candidate, kinds, self.thresholds, NoiseModel([]))
        past = {
            m.metric: floor.stretches(candidate[0].machine, candidate[0].point_key, m.metric) for m in found.metrics
        }
        (kept,) = outliers.outlier_mask([usable(candidate)], list(past), past)
        changes = tuple(_against(m, past[m.metric], kept) for m in found.metrics)
        return replace(found, metrics=changes, notes=outliers.left_out("candidate", usable(candidate), kept))


def _against(metric: MetricChange, past: Sequence[Floats], candidate: Sequence[Run]) -> MetricChange:
    """A metric against the newest stable stretch of its series; older stretches lend their noise."""
    values = positive(candidate, metric.metric)
    if metric.note.startswith("zero") or not values:
        return metric
    *older, newest = past
    found = measured(metric, newest, np.log(values), [part for part in older if len(part) > 1], None)
    return replace(found, base_runs=len(newest), basis=Basis.HISTORY)


def _blank(runs: Sequence[Run]) -> PointChange:
    return PointChange(point_key=runs[0].point_key, label=runs[0].label, base=(), candidate=tuple(runs))


def screen(found: Comparison) -> dict[str, set[str]]:
    """What looks worse, by point_key: metrics beyond their smallest effect with a p below ``SCREEN``."""
    suspects: dict[str, set[str]] = {}
    for where, metric in found.metrics:
        if _looks_worse(metric, SCREEN):
            suspects.setdefault(where.point_key, set()).add(metric.metric)
    return suspects


def _looks_worse(metric: MetricChange, p: float) -> bool:
    return metric.p_worse is not None and metric.p_worse < p and metric.loss > math.log1p(metric.smallest)


def _sift(
    found: Comparison, suspects: dict[str, set[str]], limit: float
) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Suspects that stay unsure, and those that are sure at ``limit``."""
    unsure: dict[str, set[str]] = {}
    sure: dict[str, set[str]] = {}
    for where, metric in found.metrics:
        if metric.metric not in suspects.get(where.point_key, ()):
            continue
        if metric.judged and _looks_worse(metric, limit):
            sure.setdefault(where.point_key, set()).add(metric.metric)
        elif _looks_worse(metric, LET_GO):
            unsure.setdefault(where.point_key, set()).add(metric.metric)
    return unsure, sure


def _settled(found: Comparison, confirmed: dict[str, set[str]]) -> Comparison:
    """Only what re-runs confirmed is WORSE; the rest is judged as in any comparison, but never WORSE."""

    def settle(where: PointChange, metric: MetricChange) -> MetricChange:
        if metric.metric in confirmed.get(where.point_key, ()):
            return replace(metric, change=ChangeVerdict.WORSE)
        return replace(metric, change=ChangeVerdict.UNCLEAR) if metric.change is ChangeVerdict.WORSE else metric

    judged = verdicts(found)
    points = (replace(p, metrics=tuple(settle(p, m) for m in p.metrics)) for p in judged.points)
    return replace(judged, points=tuple(points))


def _same_machine(found: Comparison, notes: list[str]) -> Comparison:
    """The comparison without points that were measured on different kinds of machines."""
    kept = []
    for where in found.points:
        machines = {run.machine for run in usable((*where.base, *where.candidate))}
        if len(machines) > 1:
            notes.append(f"{where.label}: not compared, machines differ: {', '.join(sorted(machines))}")
        else:
            kept.append(where)
    return verdicts(replace(found, points=tuple(kept)))


def _outcome(found: Comparison, regression: bool) -> GateOutcome:
    """Regressions first, then a candidate that produced nothing, then nothing to compare."""
    if regression:
        return GateOutcome.REGRESSION
    if any(where.invalid == "candidate" for where in found.points):
        return GateOutcome.INVALID
    if not any(metric.judged for _, metric in found.metrics):
        return GateOutcome.NOTHING_COMPARABLE
    return GateOutcome.FINE
