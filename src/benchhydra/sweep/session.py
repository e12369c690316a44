"""One sweep from its axes to its end: plan it, launch the groups, collect their outcomes, conclude."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from benchhydra.points import Outcome, read_outcome
from benchhydra.registry import option_name
from benchhydra.run import spec_of
from benchhydra.search.optimize import Optimize
from benchhydra.servers.shutdown import PendingShutdown
from benchhydra.sweep.conclusion import conclude_sweep, log_answers, log_repeats
from benchhydra.sweep.group.job import GroupJob
from benchhydra.sweep.group.limits import stop_limits
from benchhydra.sweep.group.time_left import TimeLeft
from benchhydra.sweep.launch.batches import HydraJobs
from benchhydra.sweep.launch.group_end import GroupEnd, interrupted_group_end
from benchhydra.sweep.launch.launchers import launch_batches
from benchhydra.sweep.launch.submitit import cancel_jobs
from benchhydra.sweep.messages import begin_line, loads_s, resume_command, say, sweep_plan_lines
from benchhydra.sweep.plan.axes import Axis
from benchhydra.sweep.plan.compose import Composer
from benchhydra.sweep.plan.estimate import read_history_s
from benchhydra.sweep.plan.sweep_plan import SweepPlan, make_plan
from benchhydra.sweep.plan.versions import engine_label
from benchhydra.sweep.shared_context import SharedContext, share_with_jobs
from benchhydra.sweep.sweep_directory import CANCEL_TIMEOUT_S, new_directory, open_sweep, set_directory
from benchhydra.sweep.sweep_file import SweepFile
from benchhydra.tracking.outbox import Outbox
from benchhydra.verbosity import Verbosity, verbosity

if TYPE_CHECKING:
    from benchhydra.sweep.trials.trial_run import LaunchJobs, StudyEnd


@dataclass(kw_only=True)
class Session:
    """A sweep. ``master``: the config that Hydra composed without the axes, for the settings of the sweep itself."""

    context: HydraContext
    task: TaskFunction
    master: DictConfig
    composer: Composer = field(init=False)
    outbox: Outbox = field(init=False, default_factory=Outbox)
    study_ends: list[StudyEnd] = field(init=False, default_factory=list)  # of a search that spans servers

    def __post_init__(self) -> None:
        loader = self.context.config_loader
        assert isinstance(loader, ConfigLoaderImpl)
        hydra_overrides = list(self.master.hydra.overrides.hydra)
        self.composer = Composer(loader, self.master.hydra.job.config_name, hydra_overrides)

    def run(self, axes: Sequence[Axis]) -> list[GroupEnd]:
        """Run the sweep, or only print its plan.

        Raises ConfigError before anything is started, and SweepFailed if a point or a search failed.
        """
        zips: Any = OmegaConf.to_container(self.master.sweep.zip, resolve=True)
        plan = make_plan(axes, zips, self.composer, spec_of, new_directory(self.master))
        if plan.settings.plan:
            _print_plan(plan)
            return []
        with open_sweep(plan.directory, plan.points, resumed=plan.resumed) as sweep_file:
            set_directory(self.master, plan.directory)
            self._reuse_results(plan, sweep_file)
            jobs = self._jobs(plan, sweep_file.sweep_id)
            if verbosity() is not Verbosity.QUIET:
                say(begin_line(plan))
            ends = self._launch(plan, sweep_file, jobs)
            if isinstance(plan.search, Optimize) and not sweep_file.stopped:
                self._confirm(plan.search, sweep_file)
                with self.outbox:
                    log_answers(sweep_file, next(iter(plan.configs.values())), self.outbox)
            conclude_sweep(sweep_file, plan.swept)
        return ends

    def _reuse_results(self, plan: SweepPlan, sweep_file: SweepFile) -> None:
        """Add the outcomes of kept results to the sweep's file, and log results that a killed run has not logged."""
        points = {point.identity: point for point in plan.points}
        for result in plan.kept_results:
            point = points[result.identity]
            outcome = read_outcome(point) or Outcome.of_point(point, status="failed")
            sweep_file.outcomes[point.identity] = replace(outcome, kept=True)
            self.outbox.catch_up(plan.configs[result.identity].tracking, result.directory)

    def _jobs(self, plan: SweepPlan, sweep_id: str) -> list[GroupJob]:
        limits = stop_limits(plan.settings, time.time())
        hydra_overrides = tuple(self.master.hydra.overrides.hydra)
        sizes = [len(group.points) for group in plan.groups]
        return [
            GroupJob(
                sweep_id=sweep_id,
                sweep_dir=str(plan.directory),
                number=number,
                points=group.points,
                config_name=str(self.master.hydra.job.config_name),
                hydra_overrides=hydra_overrides,
                limits=limits,
                swept=plan.swept,
                engine_versions=plan.engine_versions.get(engine_label(plan.configs[group.points[0].identity]), ()),
                search=option_name(plan.search) if plan.search.adds_points else None,
                points_before=sum(sizes[:number]),
                sweep_points=sum(sizes),
            )
            for number, group in enumerate(plan.groups)
        ]

    def _launch(self, plan: SweepPlan, sweep_file: SweepFile, jobs: Sequence[GroupJob]) -> list[GroupEnd]:
        """Run all jobs and add their outcomes to the sweep's file; wait for the last server and the tracker."""
        ends: list[GroupEnd] = []
        launched: list[GroupJob] = []
        shutdown = PendingShutdown()
        shared = SharedContext(
            composer=self.composer, outbox=self.outbox, shutdown=shutdown, time_left=_time_left(plan)
        )
        hydra_jobs = HydraJobs(context=self.context, task=self.task, master=self.master, composer=self.composer)

        def launch(jobs: Sequence[GroupJob]) -> Iterator[GroupEnd]:
            launched.extend(jobs)
            for end in launch_batches(hydra_jobs.batches(jobs)):
                ends.append(end)
                yield end

        with shutdown, self.outbox, share_with_jobs(shared):
            try:
                if isinstance(plan.search, Optimize):
                    self._run_trials(plan, plan.search, sweep_file, jobs[0], launch)
                else:
                    for end in launch(jobs):
                        sweep_file.add(end.outcomes, end.studies, end.server_starts)
            except KeyboardInterrupt:
                _interrupted(sweep_file, launched or jobs, ends)
                raise
            skipped = next((outcome for outcome in sweep_file.ordered_outcomes() if outcome.status == "skipped"), None)
            sweep_file.stopped = skipped.error if skipped else None
            sweep_file.write(finished=skipped is None)
            log_repeats(sweep_file, plan.configs, self.outbox)
            if not isinstance(plan.search, Optimize):
                log_answers(sweep_file, next(iter(plan.configs.values())), self.outbox)
        return ends

    def _run_trials(
        self, plan: SweepPlan, search: Optimize, sweep_file: SweepFile, template: GroupJob, launch: LaunchJobs
    ) -> None:
        """Run the trials of a search that spans servers, and add their outcomes and answers to the sweep's file."""
        from benchhydra.sweep.trials.trial_file import TrialFile  # start-up time: other sweeps have no trials
        from benchhydra.sweep.trials.trial_points import TrialPlanner, default_overrides, without_search
        from benchhydra.sweep.trials.trial_run import TrialRun

        sweep_file.points = [replace(point, overrides=without_search(point.overrides)) for point in plan.points]
        template = replace(template, points=tuple(plan.points), sweep_points=0)
        trials = TrialRun(
            search=search,
            planner=TrialPlanner(search=search, compose=self.composer, template=template),
            launch=launch,
            file=TrialFile(directory=plan.directory),
            add_outcomes=lambda outcomes, starts: sweep_file.add(outcomes, (), starts),
            say=say,
        )
        defaults = default_overrides(plan.points, search.parsed_space())
        trials.planner.check(defaults)
        self.study_ends = list(trials.run(defaults))
        sweep_file.studies += [end.result for end in self.study_ends]
        if not trials.stopped:  # a search for the capacity begins at another rate than the planned point
            sweep_file.points = [point for point in sweep_file.points if point.identity in sweep_file.outcomes]

    def _confirm(self, search: Optimize, sweep_file: SweepFile) -> None:
        """Test the answer of each study against its default, once the last server has stopped."""
        from benchhydra.sweep.trials.confirmation import CONFIRM_DIR, Confirmation  # start-up time: the statistics

        for number, end in enumerate(self.study_ends):
            confirmation = Confirmation(
                search=search,
                compose=self.composer,
                server_of=spec_of,
                directory=sweep_file.directory / CONFIRM_DIR / str(number),
                hydra_overrides=list(self.master.hydra.overrides.hydra),
                say=say,
            )
            sweep_file.studies[number] = confirmation.confirmed(end)
            sweep_file.write(finished=True)


def _time_left(plan: SweepPlan) -> TimeLeft:
    """The estimate of the time that the sweep still takes, if its groups run one after another.

    The length of a load that replays a trace counts as unknown: to know it, the trace must be read.
    """
    without_replays = {identity: config for identity, config in plan.configs.items() if not config.load.replays}
    return TimeLeft(
        groups=[[point.identity for point in group.points] for group in plan.groups],
        loads_s=lambda: loads_s(without_replays),
        open_ended=plan.search.adds_points,
    )


def _interrupted(sweep_file: SweepFile, jobs: Sequence[GroupJob], ends: Sequence[GroupEnd]) -> None:
    """Cancel the jobs that still run, and write the outcomes of all jobs to the sweep's file."""
    running = cancel_jobs(sweep_file.directory, CANCEL_TIMEOUT_S)
    if running:
        say(f"these jobs did not end within {CANCEL_TIMEOUT_S:g} s: {', '.join(running)}")
    ended_jobs = {end.job.number for end in ends}
    for end in (interrupted_group_end(job) for job in jobs if job.number not in ended_jobs):
        sweep_file.add(end.outcomes, end.studies, end.server_starts)
    sweep_file.stopped = "interrupted"
    sweep_file.write()
    say(f"to resume: {resume_command(sweep_file.directory)}")


def _print_plan(plan: SweepPlan) -> None:
    """Print the plan, with a time estimated from earlier results in the same tree of outputs."""
    parents = plan.directory.parents
    outputs = next((parent for parent in parents if parent.name == "outputs"), plan.directory.parent)
    for line in sweep_plan_lines(plan, read_history_s(outputs)):
        sys.stdout.write(f"{line}\n")
