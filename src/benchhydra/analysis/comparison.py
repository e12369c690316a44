"""What a comparison says: the change of each metric of each point, and the problems that forbid a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from benchhydra.analysis.runs import Run
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.result import Better, Verdict


class ChangeVerdict(StrEnum):
    """What is said about a metric, the gravest first.

    PROBABLY_WORSE, PROBABLY_BETTER: strong evidence that is not enough to be sure of all metrics at once.
    INCONCLUSIVE: the evidence shows neither a change nor that there is none.
    """

    WORSE = "worse"
    PROBABLY_WORSE = "probably_worse"
    INCONCLUSIVE = "inconclusive"
    SAME = "same"
    PROBABLY_BETTER = "probably_better"
    BETTER = "better"

    @property
    def words(self) -> str:
        """The verdict as text: ``probably worse``."""
        return self.value.replace("_", " ")

    @property
    def decided(self) -> bool:
        """Whether more runs are needed for no answer."""
        return self in (ChangeVerdict.WORSE, ChangeVerdict.SAME, ChangeVerdict.BETTER)


#: The verdicts in the order of their gravity.
GRAVEST_CHANGE_FIRST = tuple(ChangeVerdict)


class GateOutcome(IntEnum):
    """How a comparison, a gate or an A/B test ends. The value is the exit code (``exit_codes``)."""

    FINE = 0
    REGRESSION = 3
    NOTHING_COMPARABLE = 4
    INVALID = 5
    INCOMPLETE = 6
    METRIC_MISSING = 7
    DIFFERENT_WORK = 8
    SAME_RUNS = 9
    IMPOSSIBLE = 10
    FAILURES = 11
    SUSPECT = 12


#: The outcomes of problems, the gravest first: the first one that a comparison has is its outcome.
GRAVEST_FIRST = (
    GateOutcome.SAME_RUNS,
    GateOutcome.IMPOSSIBLE,
    GateOutcome.INVALID,
    GateOutcome.FAILURES,
    GateOutcome.DIFFERENT_WORK,
    GateOutcome.METRIC_MISSING,
    GateOutcome.SUSPECT,
    GateOutcome.INCOMPLETE,
    GateOutcome.NOTHING_COMPARABLE,
)
#: Problems with which the figures of a point say nothing about the build: it is not judged.
FORBID_JUDGEMENT = {GateOutcome.IMPOSSIBLE, GateOutcome.DIFFERENT_WORK}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why the sides cannot be judged against each other. point: its label, "" if it concerns both sides as a whole."""

    outcome: GateOutcome
    text: str
    point: str = ""

    @property
    def sentence(self) -> str:
        """The text with its point."""
        return f"{self.point}: {self.text}" if self.point else self.text


def by_gravity(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems, the gravest first."""
    return tuple(sorted(problems, key=lambda problem: GRAVEST_FIRST.index(problem.outcome)))


class Basis(StrEnum):
    """Where the evidence comes from, strongest first."""

    REPEATS = "repeats"
    HISTORY = "history"
    REQUESTS = "requests"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class MetricChange:
    """One metric of one point. Ratios are candidate over base minus 1, whatever the direction; None is unknown.

    base, candidate: levels, in ``unit``. p_worse, p_better: one-sided p-values, before any correction. error: standard
    error of the log ratio, with ``freedom`` degrees. noise: run-to-run standard deviation of the log. low, high: ends
    of the interval that ``change`` was decided on; it covers the ratio with probability ``level``. smallest: the
    smallest ratio that matters; detectable: the smallest that this evidence would have called worse in four of five
    cases. repeats_needed: runs a side that would do so for this change. is_main: whether the verdict on all depends on
    it. same_as: the metric of the point that it equals by construction.
    """

    metric: str
    unit: str
    better: Better
    base: float
    candidate: float
    base_runs: int
    candidate_runs: int
    ratio: float
    low: float | None = None
    high: float | None = None
    level: float | None = None
    p_worse: float | None = None
    p_better: float | None = None
    error: float | None = None
    freedom: float | None = None
    noise: float | None = None
    detectable: float | None = None
    repeats_needed: int | None = None
    smallest: float = 0.0
    basis: Basis = Basis.NONE
    change: ChangeVerdict = ChangeVerdict.INCONCLUSIVE
    note: str = ""
    is_main: bool = False
    same_as: str = ""

    @property
    def loss(self) -> float:
        """The log ratio for the worse; below 0 is for the better."""
        return math.log1p(self.ratio) * (1 if self.better is Better.SMALLER else -1)

    @property
    def has_run_evidence(self) -> bool:
        """Whether its evidence is between runs: only then may it fail a gate."""
        return self.p_worse is not None and self.basis in (Basis.REPEATS, Basis.HISTORY)


def family(metrics: Iterable[MetricChange]) -> list[MetricChange]:
    """Those that share a chance of false alarms: each one that has a p-value and is not equal to another one."""
    return [metric for metric in metrics if metric.p_worse is not None and not metric.same_as]


@dataclass(frozen=True, kw_only=True)
class PointChange:
    """One point on both sides.

    invalid: the side ("base", "candidate") that has runs and none that may be used, or "". missing: metrics that only
    the base has. definitions: where the figures of two engines do not mean the same. notes: which runs were left out.
    problems: why its figures cannot be judged, or not all of them. used_runs: the runs of base (a whole history, oldest
    first) and candidate that its metrics come from; None if these are all usable ones.
    """

    point_key: str
    label: str
    base: tuple[Run, ...]
    candidate: tuple[Run, ...]
    metrics: tuple[MetricChange, ...] = ()
    missing: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    definitions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    invalid: str = ""
    problems: tuple[Problem, ...] = ()
    used_runs: tuple[tuple[Run, ...], tuple[Run, ...]] | None = None

    @property
    def comparable(self) -> bool:
        """Whether its figures may be judged."""
        return not self.invalid and not any(problem.outcome in FORBID_JUDGEMENT for problem in self.problems)

    @property
    def suspect(self) -> bool:
        """Whether any run of it is SUSPECT."""
        return any(run.verdict is Verdict.SUSPECT for run in (*self.base, *self.candidate) if run.usable)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All points of two sides. only_base, only_candidate: labels of points that the other side lacks.

    side_problems: what concerns no single point.
    """

    points: tuple[PointChange, ...]
    only_base: tuple[str, ...] = ()
    only_candidate: tuple[str, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)
    side_problems: tuple[Problem, ...] = ()

    @property
    def metrics(self) -> list[tuple[PointChange, MetricChange]]:
        """Every metric of every point."""
        return [(point, metric) for point in self.points for metric in point.metrics]

    @property
    def judged_metrics(self) -> list[tuple[PointChange, MetricChange]]:
        """Every metric of the points that may be judged."""
        return [(point, metric) for point, metric in self.metrics if point.comparable]

    @property
    def main_changes(self) -> list[tuple[PointChange, MetricChange]]:
        """The metrics that the verdict depends on: the main ones of the points that may be judged."""
        return [(point, metric) for point, metric in self.judged_metrics if metric.is_main]

    @property
    def tests(self) -> int:
        """How many of them are tested; metrics that are equal by construction count once."""
        return len(family(metric for _, metric in self.main_changes))

    @property
    def worst(self) -> ChangeVerdict:
        """The gravest verdict on a main metric; INCONCLUSIVE if there is none."""
        changes = [metric.change for _, metric in self.main_changes]
        return min(changes, key=GRAVEST_CHANGE_FIRST.index, default=ChangeVerdict.INCONCLUSIVE)

    @property
    def shared_differences(self) -> tuple[str, ...]:
        """What differs between the sides at every point; empty for a single point, which says it itself."""
        if len(self.points) < 2:
            return ()
        others = [set(point.differences) for point in self.points[1:]]
        return tuple(line for line in self.points[0].differences if all(line in lines for lines in others))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, the gravest first."""
        return by_gravity((*self.side_problems, *(problem for point in self.points for problem in point.problems)))

    @property
    def outcome(self) -> GateOutcome:
        """That of its gravest problem, whatever changed; FINE without one."""
        gravest = self.problems[0].outcome if self.problems else GateOutcome.FINE
        if gravest is GateOutcome.INCOMPLETE and not self.metrics:
            return GateOutcome.NOTHING_COMPARABLE
        return gravest

    def count(self, change: ChangeVerdict) -> int:
        """How many metrics have this verdict."""
        return sum(metric.change is change for _, metric in self.metrics)
