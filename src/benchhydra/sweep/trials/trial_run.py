"""Running the trials of ``search=optimize``: ask for configurations, launch a group for each, and learn from its end.

A trial fails for itself alone: a server that does not start is what the sweep wants to know. Its points are then
``infeasible``, not failed. A resumed sweep asks for the same configurations again, takes the trials that have ended
from ``trials.json``, and continues after them; the points of a trial that was under way are kept as those of any sweep.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchhydra.errors import BenchhydraError
from benchhydra.interruption import reraising_interrupts
from benchhydra.points import Outcome
from benchhydra.render.figures import number, quantity
from benchhydra.search.optimization import Optimization, trial_of
from benchhydra.search.optimize import Optimize
from benchhydra.search.probe_faults import has_client_fault
from benchhydra.search.proposals import Settings
from benchhydra.search.trials import Trial
from benchhydra.sweep.group.job import GroupJob
from benchhydra.sweep.group.point_runner import error_line
from benchhydra.sweep.launch.group_end import GroupEnd
from benchhydra.sweep.study_result import StudyResult
from benchhydra.sweep.trials.trial_file import TrialFile, TrialRecord
from benchhydra.sweep.trials.trial_points import TrialPlanner, settings_of, without_search

#: Runs jobs, and yields the end of each when it has ended.
LaunchJobs = Callable[[Sequence[GroupJob]], Iterator[GroupEnd]]
#: The name of the search in answers.
NAME = "optimize"


@dataclass(frozen=True, kw_only=True)
class StudyEnd:
    """The optimization of one study that has ended, and the overrides of its default."""

    default: tuple[str, ...]
    optimization: Optimization
    result: StudyResult


@dataclass(kw_only=True)
class TrialRun:
    """The trials of a sweep, study after study.

    launched: the jobs so far. stopped: whether a limit of the sweep was reached. add_outcomes:
    takes the end of each group.
    """

    search: Optimize
    planner: TrialPlanner
    launch: LaunchJobs
    file: TrialFile
    add_outcomes: Callable[[Sequence[Outcome], int], None]
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    launched: list[GroupJob] = field(default_factory=list)
    stopped: bool = False

    def run(self, defaults: Sequence[tuple[str, ...]]) -> Iterator[StudyEnd]:
        """Run all trials of each study. defaults: the overrides of each study's default configuration."""
        for study, default in enumerate(defaults):
            optimization = Optimization(
                objectives=self.search.objectives(), space=self.search.parsed_space(), seed=self.search.seed
            )
            self._run_study(study, default, optimization)
            if self.stopped:
                return
            yield StudyEnd(default=default, optimization=optimization, result=_study_result(default, optimization))

    def _run_study(self, study: int, default: tuple[str, ...], optimization: Optimization) -> None:
        spent_s = 0.0
        batch: list[Settings] = [{}]  # the default comes first
        while batch and not self.stopped:
            for record in self._run_batch(study, default, optimization, batch):
                spent_s += record.wall_s / len(batch)
                optimization.add(record.trial, self._settings_of_default(default) if not record.trial.number else None)
                self.say(_ending(record.trial, optimization))
            left = min(self.search.at_once, self.search.trials - len(optimization.trials))
            if self.search.budget_s is not None and spent_s >= self.search.budget_s:
                self.say(f"search.budget_s={self.search.budget_s:g} is spent: no further trial")
                return
            batch = [settings for _ in range(left) if (settings := optimization.ask()) is not None]

    def _run_batch(
        self, study: int, default: tuple[str, ...], optimization: Optimization, batch: Sequence[Settings]
    ) -> list[TrialRecord]:
        """Run trials at the same time, and return their records in the order in which they were proposed."""
        records: dict[int, TrialRecord] = {}
        jobs: dict[int, GroupJob] = {}
        first, cut = len(optimization.trials), optimization.cut()
        for trial_number, settings in enumerate(batch, first):
            earlier = self.file.earlier_record(study, trial_number, settings)
            if earlier is not None:
                records[trial_number] = earlier
                self.add_outcomes([replace(outcome, kept=True) for outcome in earlier.outcomes], 0)
                continue
            self.say(self._beginning(trial_number, settings, optimization))
            try:
                with reraising_interrupts():
                    jobs[trial_number] = self.planner.job(len(self.launched) + len(jobs), default, settings, cut)
            except Exception as error:  # noqa: BLE001 - Hydra raises many types; the trial is infeasible, others go on
                trial = Trial(number=trial_number, settings=settings, status="infeasible", reason=error_line(error))
                records[trial_number] = TrialRecord(study=study, trial=trial)
        self._launch_jobs(study, jobs, dict(enumerate(batch, first)), records, optimization)
        return [records[trial_number] for trial_number in sorted(records)]

    def _launch_jobs(
        self,
        study: int,
        jobs: Mapping[int, GroupJob],
        settings: Mapping[int, Settings],
        records: dict[int, TrialRecord],
        optimization: Optimization,
    ) -> None:
        """Launch jobs by the number of their trial, and add the records of their ends, unless the sweep stops."""
        self.launched += jobs.values()
        numbers = {job.number: trial_number for trial_number, job in jobs.items()}
        started_s = self.clock()
        for end in self.launch(list(jobs.values())) if jobs else ():
            trial_number = numbers[end.job.number]
            outcomes = [_as_trial_outcome(outcome) for outcome in end.outcomes]
            self.add_outcomes(outcomes, end.server_starts)
            if any(outcome.status in ("skipped", "interrupted") for outcome in outcomes):
                self.stopped = True
                continue
            trial = _trial(trial_number, settings[trial_number], end, outcomes, optimization)
            record = TrialRecord(study=study, trial=trial, outcomes=tuple(outcomes), wall_s=self.clock() - started_s)
            records[trial_number] = record
            self.file.add(record)

    def _settings_of_default(self, default: Sequence[str]) -> dict[str, Any] | None:
        """The default's settings in the space, so that they are not proposed again; None if they are elsewhere."""
        try:
            return settings_of(self.planner.compose(default)[1], self.search.parsed_space())
        except BenchhydraError:
            return None

    def _beginning(self, trial_number: int, settings: Settings, optimization: Optimization) -> str:
        best = optimization.best()
        first = optimization.objectives[0]
        so_far = f"; best so far {quantity(best.estimates[0].value, first.unit)}" if best is not None else ""
        most = min(self.search.trials, self.search.parsed_space().size + 1)
        return f"trial {trial_number + 1} of at most {most}: {settings_text(settings)}{so_far}"


def settings_text(settings: Settings) -> str:
    """``engine.args.max_num_seqs=64 gpus=tp2``; the default has no settings."""
    return " ".join(f"{key}={value}" for key, value in settings.items()) or "the default"


def _as_trial_outcome(outcome: Outcome) -> Outcome:
    """The outcome of a trial's point, without the trial's own search: that it failed is a result of the sweep.

    A point that the load generator disturbed was measured, and is INVALID.
    """
    is_disturbed = outcome.status == "invalid" and has_client_fault(outcome)
    status = "infeasible" if outcome.status in ("failed", "invalid") else outcome.status
    status = "ok" if is_disturbed else status
    return replace(outcome, status=status, overrides=without_search(outcome.overrides))


def _trial(
    trial_number: int, settings: Settings, end: GroupEnd, outcomes: Sequence[Outcome], optimization: Optimization
) -> Trial:
    study = end.studies[0] if end.studies else None
    return trial_of(
        trial_number,
        settings,
        optimization.objectives,
        outcomes,
        study.answer if study is not None else None,
        error=(study.error or "") if study is not None else "",
        cut=study.cut if study is not None else "",
    )


def _ending(trial: Trial, optimization: Optimization) -> str:
    """How a trial ended, in a line."""
    values = ", ".join(
        f"{objective.name} {number(estimate.value)} {objective.unit}".strip()
        for objective, estimate in zip(optimization.objectives, trial.estimates, strict=False)
    )
    reason = f" ({trial.reason})" if trial.reason else ""
    return f"trial {trial.number + 1}: {trial.status}{f', {values}' if values else ''}{reason}"


def _study_result(default: tuple[str, ...], optimization: Optimization) -> StudyResult:
    answer = optimization.answer()
    reasons = [trial.reason for trial in optimization.trials if trial.reason]
    error = (
        None if answer is not None else f"no configuration is feasible: {reasons[0] if reasons else 'none was tried'}"
    )
    return StudyResult(search=NAME, overrides=default, answer=answer, error=error)
