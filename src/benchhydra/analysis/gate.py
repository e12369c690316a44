"""May this build pass? Two stages: a loose screen on the runs that are there, then re-runs of what looks worse.

The screen lets through what a 5 % slowdown could look like. Each suspicious point is measured again, in up to three
rounds, each of as many runs as the candidate has by then. After each round the old and the new runs together are
tested at that round's fraction of the false-alarm budget (a group-sequential test whose limits were set by simulation),
divided by the number of metrics that were tested at the start. docs/statistics.md has the measured rates.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from benchhydra.analysis.compare import compare_point, evidence_of_sides, noise_of_pairs
from benchhydra.analysis.comparison import (
    GRAVEST_FIRST,
    ChangeVerdict,
    Comparison,
    GateOutcome,
    MetricChange,
    PointChange,
    Problem,
    by_gravity,
    family,
)
from benchhydra.analysis.drift import without_drift
from benchhydra.analysis.judgement import is_surely_worse, judged, judged_metric, probably
from benchhydra.analysis.noise_model import NoiseModel
from benchhydra.analysis.pairing import Pairing, usable_runs
from benchhydra.analysis.problems import MetricRoles, listed, unread_files
from benchhydra.analysis.rerun import Rerun
from benchhydra.analysis.runs import Run, Runs
from benchhydra.analysis.stats.drift import DRIFT_ALPHA_OF_RERUNS
from benchhydra.analysis.stats.robust import VariancePrior
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.errors import ResultError

#: One-sided p below which a metric is measured again, and above which it is let go after a round.
SCREEN = 0.04
LET_GO = 0.15
#: Fractions of the false-alarm budget at which the rounds of re-runs are tested: most of it is kept for the last round,
#: which has the most runs. They add up to more than 1: rounds share their runs and the screen comes first, so fewer
#: alarms are false than the sum says (benchmarks/gate_trials.py).
SPENDING = (0.1, 0.2, 1.0)

#: Metrics by point_key.
Suspects = Mapping[str, set[str]]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the gate decided and why. regressions: the (point, metric) pairs of main metrics that are worse; probable:
    those that are probably worse.

    problems: why a side, or a point, cannot be judged, without those that the user accepts. notes: sentences, those of
    the problems first. reran: a line for each re-run point. confirmed: whether re-runs confirmed the regressions.
    """

    outcome: GateOutcome
    comparison: Comparison
    regressions: tuple[tuple[PointChange, MetricChange], ...] = ()
    probable: tuple[tuple[PointChange, MetricChange], ...] = ()
    reran: tuple[str, ...] = ()
    confirmed: bool = False
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass
class Gate:
    """One gate: the two sides, the history of the machine's noise, and how points are measured again (None: not).

    accept: outcomes of problems that the user expects, and that do not fail the gate. fail_on_probable: whether what is
    probably worse fails it. lent: what the metrics of the first comparison say about one another's noise.
    """

    base: Runs
    candidate: Runs
    thresholds: Thresholds
    history: Iterable[Run] = ()
    rerun: Rerun | None = None
    reran: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    accept: Collection[GateOutcome] = ()
    fail_on_probable: bool = False
    pairing: Pairing = field(default_factory=Pairing)
    lent: Mapping[tuple[str, str], VariancePrior] = field(default_factory=dict)
    spending: ClassVar[tuple[float, ...]] = SPENDING

    def decide(self) -> Decision:
        """Compare, measure again what looks worse, and decide."""
        self.history = list(self.history)
        comparison = evidence_of_sides(self.base, self.candidate, self.thresholds, self.history, self.pairing)
        problems = (*comparison.side_problems, *unread_files(self.base, self.candidate))
        return self.conclude(_on_same_machine(replace(comparison, side_problems=problems)))

    def conclude(self, comparison: Comparison) -> Decision:
        """The decision on a comparison, after re-runs where there are suspects and they can be measured again."""
        suspects = screen(comparison)
        if self.rerun is None or not suspects:
            return self._decision(judged(without_drift(comparison)), confirmed=False)
        return self._decision(self._confirm(comparison, suspects, self.rerun), confirmed=True)

    def _confirm(self, comparison: Comparison, suspects: Suspects, rerun: Rerun) -> Comparison:
        """The comparison after re-runs: WORSE is what the re-runs have confirmed."""
        tests = len(family(m for _, m in comparison.main_changes if m.has_run_evidence)) or 1
        pairs = [(point.base, point.candidate) for point in comparison.points]
        self.lent = noise_of_pairs(pairs, self.roles, self.history).lent
        confirmed: dict[tuple[str, str], MetricChange] = {}
        limit = self.thresholds.alpha / tests
        for fraction in self.spending:
            points = (self._remeasured(p, rerun) if p.point_key in suspects else p for p in comparison.points)
            comparison = replace(comparison, points=tuple(points))
            limit = fraction * self.thresholds.alpha / tests
            suspects, sure = _sift(comparison, suspects, limit)
            confirmed |= {key: judged_metric(metric, limit) for key, metric in sure.items() if key not in confirmed}
            if not suspects:
                break
        return _with_confirmed(comparison, confirmed, limit)

    def _remeasured(self, old: PointChange, rerun: Rerun) -> PointChange:
        """A point measured again, its candidate's runs old and new together."""
        new = rerun(old.candidate[-1], len(usable_runs(old.candidate)))
        self.reran.append(f"{old.label}: {len(usable_runs(new))} of {len(new)} re-runs usable")
        if not usable_runs(new):
            raise ResultError(f"every re-run of {old.label} is INVALID", hint="--no-confirm decides without re-runs")
        return self.point(old, [*old.candidate, *new])

    def point(self, old: PointChange, candidate: Sequence[Run]) -> PointChange:
        """A point with more runs of the candidate."""
        compared_ids = frozenset(run.run_id for run in (*old.base, *candidate))
        noise_model = NoiseModel(list(self.history), compared_ids, (*old.base, *candidate), self.lent)
        return compare_point(old.base, candidate, self.roles, noise_model, self.points)

    def _decision(self, comparison: Comparison, *, confirmed: bool) -> Decision:
        worse = _with_verdict(comparison, ChangeVerdict.WORSE)
        regressions = tuple((point, metric) for point, metric in worse if metric.has_run_evidence)
        if weak := len(worse) - len(regressions):
            self.notes.append(f"{weak} metrics look worse within one run a side; that is no proof: repeats=5 gives it")
        probable = _with_verdict(comparison, ChangeVerdict.PROBABLY_WORSE)
        probable = tuple((point, metric) for point, metric in probable if metric.has_run_evidence)
        self.notes += [_advice(point, metric) for point, metric in probable]
        fails = bool(regressions or (self.fail_on_probable and probable))
        problems = by_gravity((*comparison.problems, *unjudged_points(comparison)))
        accepted = [problem for problem in problems if problem.outcome in self.accept]
        self.notes += [f"accepted: {problem.sentence}" for problem in accepted]
        problems = tuple(problem for problem in problems if problem not in accepted)
        return Decision(
            outcome=_outcome(comparison, problems, fails),
            comparison=comparison,
            regressions=regressions,
            probable=probable,
            reran=tuple(self.reran),
            confirmed=confirmed,
            notes=(*(problem.sentence for problem in problems), *self.notes),
            problems=problems,
        )

    @property
    def roles(self) -> MetricRoles:
        """What the metrics of both sides are."""
        return MetricRoles.of_sides(self.base, self.candidate, self.thresholds)

    @property
    def points(self) -> int:
        """Points of the candidate."""
        return len({run.point_key for run in self.candidate.runs})


def screen(comparison: Comparison) -> dict[str, set[str]]:
    """What looks worse, by point_key: main metrics beyond their smallest effect with a p below ``SCREEN``."""
    suspects: dict[str, set[str]] = {}
    for point, metric in comparison.main_changes:
        if is_surely_worse(metric, SCREEN):
            suspects.setdefault(point.point_key, set()).add(metric.metric)
    return suspects


def _sift(
    comparison: Comparison, suspects: Suspects, limit: float
) -> tuple[Suspects, dict[tuple[str, str], MetricChange]]:
    """Suspects that stay unsure, and those that are sure at ``limit`` without drift, by point_key and metric."""
    unsure: dict[str, set[str]] = {}
    sure: dict[tuple[str, str], MetricChange] = {}
    pairs = zip(comparison.main_changes, without_drift(comparison, DRIFT_ALPHA_OF_RERUNS).main_changes, strict=True)
    for (point, metric), (_, freed) in pairs:
        if metric.metric not in suspects.get(point.point_key, ()):
            continue
        if freed.has_run_evidence and is_surely_worse(freed, limit):
            sure[point.point_key, metric.metric] = freed
        elif is_surely_worse(metric, LET_GO):
            unsure.setdefault(point.point_key, set()).add(metric.metric)
    return unsure, sure


def _with_confirmed(
    comparison: Comparison, confirmed: Mapping[tuple[str, str], MetricChange], limit: float
) -> Comparison:
    """What re-runs confirmed is WORSE, as it was then; other main metrics are judged as in any comparison, but are at
    most PROBABLY_WORSE, short of the ``limit`` of the last round.
    """

    def final(point: PointChange, metric: MetricChange) -> MetricChange:
        if (point.point_key, metric.metric) in confirmed:
            return confirmed[point.point_key, metric.metric]
        unconfirmed = metric.is_main and metric.change is ChangeVerdict.WORSE
        return probably(metric, ChangeVerdict.PROBABLY_WORSE, limit) if unconfirmed else metric

    freed = without_drift(comparison, DRIFT_ALPHA_OF_RERUNS)
    points = (replace(p, metrics=tuple(final(p, m) for m in p.metrics)) for p in judged(freed).points)
    return replace(comparison, points=tuple(points))


def _with_verdict(comparison: Comparison, verdict: ChangeVerdict) -> tuple[tuple[PointChange, MetricChange], ...]:
    """The main metrics with a verdict, without those that are equal to another one."""
    return tuple((p, m) for p, m in comparison.main_changes if m.change is verdict and not m.same_as)


def _advice(point: PointChange, metric: MetricChange) -> str:
    """What to do about a metric that is probably worse."""
    repeats = f"repeats={metric.repeats_needed} or " if metric.repeats_needed else ""
    text = f"{point.label}: {metric.metric} is probably worse ({metric.ratio * 100:+.1f} %)"
    return f"{text}, which is not sure enough to fail: {repeats}benchhydra ab would decide it"


def _on_same_machine(comparison: Comparison) -> Comparison:
    """The comparison without points that were measured on different kinds of machines, or of different models."""
    points, problems = [], []
    for point in comparison.points:
        runs = usable_runs((*point.base, *point.candidate))
        machines, models = sorted({run.machine for run in runs}), sorted({run.model for run in runs})
        if len(machines) > 1:
            text = f"not compared, machines differ: {', '.join(machines)}"
            problems.append(Problem(outcome=GateOutcome.INCOMPLETE, text=text, point=point.label))
        elif len(models) > 1:
            text = f"the models differ: {', '.join(models)}"
            problem = Problem(outcome=GateOutcome.DIFFERENT_WORK, text=text, point=point.label)
            points.append(replace(point, problems=(*point.problems, problem)))
        else:
            points.append(point)
    side_problems = (*comparison.side_problems, *problems)
    return replace(comparison, points=tuple(points), side_problems=side_problems)


def unjudged_points(comparison: Comparison) -> Iterator[Problem]:
    """Points whose runs are no evidence, of a comparison in which others are."""
    unjudged = [point for point in comparison.points if point.comparable and not _is_judged(point)]
    if len(unjudged) < sum(point.comparable for point in comparison.points):
        for point in unjudged:
            notes = dict.fromkeys(metric.note for metric in point.metrics if metric.note)
            text = f"not judged: {listed([*notes]) or 'no metric is on both sides'}"
            yield Problem(outcome=GateOutcome.INCOMPLETE, text=text, point=point.label)


def _is_judged(point: PointChange) -> bool:
    return any(metric.is_main and metric.has_run_evidence for metric in point.metrics)


def _outcome(comparison: Comparison, problems: Sequence[Problem], regression: bool) -> GateOutcome:
    """Regressions of comparable points first, then the gravest problem, then nothing to compare."""
    gravest = min((problem.outcome for problem in problems), key=GRAVEST_FIRST.index, default=GateOutcome.FINE)
    if regression and gravest is not GateOutcome.SAME_RUNS:
        return GateOutcome.REGRESSION
    anything_judged = any(point.comparable and _is_judged(point) for point in comparison.points)
    if gravest in (GateOutcome.FINE, GateOutcome.INCOMPLETE) and not anything_judged:
        return GateOutcome.NOTHING_COMPARABLE
    return gravest
