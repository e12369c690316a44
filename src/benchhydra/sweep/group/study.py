"""Studies: each is one search over one set of points. The search asks for more points until it has its answer."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

from benchhydra.errors import BenchhydraError, ConfigError, RunInvalid
from benchhydra.interruption import reraising_interrupts
from benchhydra.points import Outcome, PlannedPoint, override_key
from benchhydra.search import Answer, Overrides, ProbeFinding, Search
from benchhydra.search.cut import Cut
from benchhydra.search.probe_faults import CLIENT_CHECKS, has_client_fault, is_beyond_limit
from benchhydra.sweep.group.point_runner import error_line
from benchhydra.sweep.plan.point_names import point_label
from benchhydra.sweep.study_result import StudyResult

#: Plans a point that a search asks for. Raises BenchhydraError, or what composing raises.
PlanPoint = Callable[[tuple[str, ...]], PlannedPoint]


@dataclass(kw_only=True)
class Study:
    """The planned points that differ only in the keys that the search varies, and the outcomes so far.

    An error of the search ends its study; other studies and all points go on. cut: what the study must be able to beat,
    or it is stopped early, with ``cut_reason``. added: the points that the search asked for, without repeats of those
    that the load generator disturbed. is_trial: whether it is a trial of ``search=optimize``.
    """

    search: Search
    name: str
    plan_point: PlanPoint
    points: tuple[PlannedPoint, ...]
    outcomes: list[Outcome]
    added: int = 0
    error: str | None = None
    question: str = ""
    cut: Cut | None = None
    cut_reason: str = ""
    is_trial: bool = False

    @property
    def repeats_disturbed(self) -> bool:
        """Whether points that the load generator disturbed are measured again, and not shown to the search."""
        return self.search.finds_limits or self.is_trial

    def next_points(self) -> list[PlannedPoint]:
        """The points that the search asks for next; none if it is done or has failed."""
        if self.error is not None:
            return []
        try:
            with reraising_interrupts():
                self._refuse_wrong_measurements()
                disturbed = self._disturbed_probes()
                requested = [self._again(probe) for probe in disturbed] or self._requested()
                planned = [self._undisturbed(self.plan_point(overrides)) for overrides in requested]
                new = self._new_points(planned)
                if not disturbed:
                    self._count(new)
        except Exception as error:  # noqa: BLE001 - a search may raise anything, and must not end the group
            self._fail(error)
            return []
        return new

    def result(self) -> StudyResult:
        """The answer, or the error that ended the search."""
        answer: Answer | None = None
        try:
            with reraising_interrupts():
                answer = (
                    self._with_disturbed_probes(self.search.answer(self.usable_outcomes())) if not self.error else None
                )
        except Exception as error:  # noqa: BLE001 - see next_points
            self._fail(error)
        return StudyResult(
            search=self.name,
            overrides=self.shared_overrides(),
            answer=answer,
            error=self.error,
            question=self.question,
            cut=self.cut_reason,
        )

    def shared_overrides(self) -> tuple[str, ...]:
        """The overrides of the study's points without those that the search varies."""
        return study_key(self.points[0].overrides, self.search.varies)

    def next_place(self) -> str:
        """The next probe's place in a search for a limit, for the progress line; "" for other searches."""
        if not self.search.finds_limits:
            return ""
        number = len(self.usable_outcomes()) + 1  # a repeat of a disturbed probe has the number of that probe
        place = f"probe {number} of at most {len(self.points) + self.search.max_points}"
        bracket = self.search.progress_words(self.usable_outcomes())
        return f"{place}, {bracket}" if bracket else place

    def usable_outcomes(self) -> tuple[Outcome, ...]:
        """The outcomes that the search sees: without those that the load generator disturbed, if it repeats them."""
        if not self.repeats_disturbed:
            return tuple(self.outcomes)
        return tuple(outcome for outcome in self.outcomes if not has_client_fault(outcome))

    def _with_disturbed_probes(self, answer: Answer | None) -> Answer | None:
        """The answer, whose evidence names the probes that the load generator disturbed too."""
        if answer is None or not answer.evidence:
            return answer
        disturbed = [outcome for outcome in self.outcomes if has_client_fault(outcome)]
        loads = [float(outcome.override(self.search.varies[0]) or "nan") for outcome in disturbed]
        probes = [
            ProbeFinding(key_value=load, decision="unusable", point_key=outcome.point_key, repeat=outcome.repeat)
            for outcome, load in zip(disturbed, loads, strict=True)
            if math.isfinite(load)
        ]
        return replace(answer, evidence=(*answer.evidence, *probes))

    def _requested(self) -> list[tuple[str, ...]]:
        """All overrides of each point that the search asks for; none once the study cannot beat what it must."""
        if self.cut is not None:
            self.cut_reason = self.cut.reason(self.search, self.usable_outcomes())
            if self.cut_reason:
                return []
        if self.is_trial and len(self.outcomes) - len(self.usable_outcomes()) > self.search.disturbed_repeats:
            return []  # what was measured undisturbed is the result of the trial
        return [self._overrides(overrides) for overrides in self.search.next(self.points, self.usable_outcomes())]

    def _disturbed_probes(self) -> list[Outcome]:
        """The probes to measure again: the last try of each that the load generator disturbed every time.

        Raises RunInvalid if a probe stays disturbed.
        """
        tries: dict[tuple[str, str], list[Outcome]] = {}
        for outcome in self.outcomes if self.repeats_disturbed else ():
            tries.setdefault((outcome.point_key, outcome.variant), []).append(outcome)
        disturbed = [outcomes for outcomes in tries.values() if all(map(has_client_fault, outcomes))]
        for outcomes in disturbed:
            if len(outcomes) > self.search.disturbed_repeats:
                times = "once" if len(outcomes) == 1 else f"{len(outcomes)} times"
                raise RunInvalid(f"the load generator disturbed the probe at {self._named(outcomes[-1])} {times}")
        return [outcomes[-1] for outcomes in disturbed]

    def _refuse_wrong_measurements(self) -> None:
        """Raise RunInvalid if a probe is INVALID for a reason that says nothing about the server's limit."""
        for outcome in self.usable_outcomes() if self.search.finds_limits else ():
            if outcome.invalid_checks and not is_beyond_limit(outcome):
                raise RunInvalid(f"the probe at {self._named(outcome)} is INVALID, and not because of a limit")

    def _named(self, outcome: Outcome) -> str:
        """A probe and the rules that made it INVALID: ``qps=8 (client_lag, client_wait)``."""
        checks = [name for name in outcome.invalid_checks if name in CLIENT_CHECKS] or outcome.invalid_checks
        load = self.search.varies[0]
        return f"{load}={outcome.override(load)} ({', '.join(checks)})"

    def _again(self, probe: Outcome) -> tuple[str, ...]:
        """All overrides of the next repeat of a probe."""
        overrides = [override for override in probe.overrides if override_key(override) != "repeat"]
        return (*overrides, f"repeat={probe.repeat + 1}")

    def _undisturbed(self, point: PlannedPoint) -> PlannedPoint:
        """The point; in a trial with disturbed points, whose repeats the search does not count, its next new repeat."""
        if self.is_trial and any(map(has_client_fault, self.outcomes)):
            measured = {outcome.identity: outcome for outcome in self.outcomes}
            while (tried := measured.get(point.identity)) is not None:
                point = self.plan_point(self._again(tried))
        return point

    def _overrides(self, overrides: Overrides) -> tuple[str, ...]:
        """All overrides of a point that the search asks for."""
        if isinstance(overrides, str):
            raise ConfigError(f"next() returned the text {overrides!r} for a point: return a list of lists of texts")
        replaced = {override_key(override) for override in overrides} | {"repeat"}
        base = [override for override in self.points[0].overrides if override_key(override) not in replaced]
        return (*base, *overrides)

    def _new_points(self, planned: Sequence[PlannedPoint]) -> list[PlannedPoint]:
        """The points that are not measured yet. Raises ConfigError if the search would never end."""
        measured = {outcome.identity for outcome in self.outcomes}
        new = list({point.identity: point for point in planned if point.identity not in measured}.values())
        if planned and not new:
            labels = ", ".join(point_label(point.overrides, self.search.varies) for point in planned)
            raise ConfigError(f"it asks for points that are already measured: {labels}; repeat=N measures one again")
        return new

    def _count(self, new: Sequence[PlannedPoint]) -> None:
        """Count the points that the search asks for. Raises ConfigError if they are too many."""
        if self.added + len(new) > self.search.max_points:
            raise ConfigError(f"it asks for more than search.max_points={self.search.max_points} points")
        self.added += len(new)

    def _fail(self, error: Exception) -> None:
        self.error = f"{error_line(error)}, after {len(self.outcomes)} points"
        if not isinstance(error, BenchhydraError):
            frame = traceback.extract_tb(error.__traceback__)[-1]
            self.error += f" ({Path(frame.filename).name}, line {frame.lineno})"


def study_key(overrides: Iterable[str], varies: Sequence[str]) -> tuple[str, ...]:
    """The overrides that identify a study: all except ``repeat`` and the keys that the search varies."""
    return tuple(override for override in overrides if override_key(override) not in (*varies, "repeat"))


def split_studies(
    search: Search, name: str, plan_point: PlanPoint, points: Iterable[PlannedPoint], outcomes: Iterable[Outcome]
) -> list[Study]:
    """A group's planned points split into studies, each with its outcomes, in order of first appearance."""
    members: dict[tuple[str, ...], list[PlannedPoint]] = {}
    for point in points:
        members.setdefault(study_key(point.overrides, search.varies), []).append(point)
    by_identity = {outcome.identity: outcome for outcome in outcomes}
    return [
        Study(
            search=copy(search),  # each study has a history of its own
            name=name,
            plan_point=plan_point,
            points=tuple(points),
            outcomes=[by_identity[point.identity] for point in points if point.identity in by_identity],
        )
        for points in members.values()
    ]


def run_studies(
    studies: Sequence[Study], outcome_of: Callable[[Study, PlannedPoint], Outcome]
) -> tuple[StudyResult, ...]:
    """Measure the points that the studies request, one round of all studies after another. Returns their results.

    If a point is skipped because the sweep stops, only failed studies are returned: resuming continues the others.
    """
    while requested := [(study, point) for study in studies for point in study.next_points()]:
        for study, point in requested:
            outcome = outcome_of(study, point)
            if outcome.status == "skipped":
                return tuple(study.result() for study in studies if study.error is not None)
            study.outcomes.append(outcome)
    return tuple(study.result() for study in studies)
