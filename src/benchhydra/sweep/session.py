"""One sweep from axes to exit: plan, skip what is done, launch the groups, collect, report."""

from __future__ import annotations

import shlex
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from benchhydra.config import BenchConfig
from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.servers.shutdown import PendingShutdown
from benchhydra.sweep import SWEEP_FILE, Identity, PlannedPoint, ServerGroup
from benchhydra.sweep.group.group_run import FAILURES, JOURNALS, GroupJob, StopLimits
from benchhydra.sweep.group.shared_context import SharedContext, share_with_jobs
from benchhydra.sweep.launch import ray_launcher, submitit_jobs
from benchhydra.sweep.launch.groups import GroupEnd, LaunchBatch, interrupted_groups, launch_all
from benchhydra.sweep.messages import count_of, failure_lines, options_of, plan_lines, verdict_line
from benchhydra.sweep.outcomes import Outcome, blank_outcome, outcome_from_disk, summarize_repeats
from benchhydra.sweep.plan import checked_points, resume, versions
from benchhydra.sweep.plan.axes import Axis, expand
from benchhydra.sweep.plan.compose import Composer
from benchhydra.sweep.sweep_file import SweepFile, earlier_sweep
from benchhydra.tracking.outbox import Outbox

#: For jobs of a launcher that are cancelled: as long as an engine may take to stop, and then some.
CANCEL_TIMEOUT_S = 60.0


class SweepFailed(BenchhydraError):
    """Points of the sweep failed; they have been listed."""


@dataclass(kw_only=True)
class Session:
    """One sweep. ``spec_of`` is a parameter for tests."""

    context: HydraContext
    task: TaskFunction
    master: DictConfig
    spec_of: checked_points.SpecOf | None = None
    composer: Composer = field(init=False)
    configs: dict[Identity, BenchConfig] = field(init=False, default_factory=dict)
    outbox: Outbox = field(init=False, default_factory=Outbox)

    def __post_init__(self) -> None:
        loader = self.context.config_loader
        assert isinstance(loader, ConfigLoaderImpl)
        hydra_overrides = list(self.master.hydra.overrides.hydra)
        self.composer = Composer(loader, self.master.hydra.job.config_name, hydra_overrides)

    def run(self, axes: Sequence[Axis]) -> list[GroupEnd]:
        """Run the sweep. Raises SweepFailed where a point did not end well, ConfigError before anything started."""
        settings = self.master.sweep
        directory = self._directory()
        points = expand(axes, OmegaConf.to_container(settings.zip, resolve=True))  # type: ignore[arg-type]
        swept = tuple(axis.key for axis in axes if len(axis.overrides) > 1)
        checked = checked_points.check_points(points, self.composer, self.spec_of or _spec_of(), directory, swept)
        self.configs = checked.configs
        directory, results = self._resumed(checked, directory)
        placed = checked_points.relocated_points(checked.points, results)
        todo, kept = resume.split_done(placed, results)
        limits = checked_points.stop_limits(checked.sweep, time.time())
        work = placed if limits.ci_metric else todo
        groups = checked_points.ordered_groups(work, checked.sweep.order, checked.seed)
        kept_versions = {} if checked.sweep.any_engine_version else versions.kept_versions(kept, checked.configs)
        versions.refuse_others(kept_versions, [point.identity for point in work], checked.configs)
        if checked.sweep.plan:
            self._print_plan(groups, len(kept), directory, swept)
            return []
        record = self._begin(directory, placed, swept)
        record.outcomes |= _kept_outcomes(placed, kept)
        for done in kept:
            self.outbox.catch_up(checked.configs[done.identity].tracking, done.directory)
        allowed = {i: kept_versions.get(versions.engine_of(c), ()) for i, c in checked.configs.items()}
        jobs = self._jobs(record, groups, limits, allowed)
        self._say_plan(groups, len(kept))
        return self._conclude(record, jobs)

    def _directory(self) -> Path:
        """The sweep's directory: as asked for, or a new one where two sweeps began within one second."""
        directory = Path(str(self.master.hydra.sweep.dir)).absolute()
        chosen = any(str(override).startswith("hydra.sweep.dir=") for override in self.master.hydra.overrides.hydra)
        number = 1
        while not chosen and (directory / SWEEP_FILE).exists():
            number += 1
            directory = directory.with_name(f"{directory.name.partition('.')[0]}.{number}")
        return directory

    def _resumed(self, checked: checked_points.CheckedPoints, directory: Path) -> tuple[Path, list[resume.FoundResult]]:
        """Where the sweep goes on, and the results that are there."""
        wish = checked.sweep.resume
        if wish is None:
            if (directory / SWEEP_FILE).exists() and not checked.sweep.plan:
                raise ConfigError(f"{directory} holds a sweep", hint=f"sweep.resume={directory} goes on with it")
            return directory, []
        if wish == "auto":
            wanted = {point.identity for point in checked.points}
            place = resume.newest_sweep(directory.parents[1], wanted)
            if place is None:
                _say("sweep.resume=auto: no sweep of the same points is there; this is a new one")
                return directory, []
        else:
            place = Path(wish).absolute()
            if earlier_sweep(place) is None:
                raise ConfigError(f"sweep.resume={wish}: no {SWEEP_FILE} is there", hint="sweep.resume=auto")
        return place, resume.found_results(place)

    def _begin(self, directory: Path, points: Sequence[PlannedPoint], swept: tuple[str, ...]) -> SweepFile:
        """The sweep's directory and its file, before anything is started."""
        ended = submitit_jobs.end_earlier_jobs(directory, CANCEL_TIMEOUT_S) if earlier_sweep(directory) else 0
        if ended:
            _say(f"{count_of(ended, 'job')} of the earlier run ended first")
        before = earlier_sweep(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / JOURNALS / FAILURES).unlink(missing_ok=True)
        for journal in (directory / JOURNALS).glob("*.json"):
            journal.unlink()
        with read_write(self.master.hydra), open_dict(self.master.hydra):
            self.master.hydra.sweep.dir = str(directory)
            self.master.hydra.overrides.hydra.append("hydra.sweep.dir='{}'".format(str(directory).replace("'", "\\'")))
        sweep_id, earlier_starts, wall_s = before or (uuid.uuid4().hex, 0, 0.0)
        command = shlex.join(["benchhydra", *sys.argv[1:]])
        record = SweepFile(directory=directory, sweep_id=sweep_id, command=command, points=points, swept=swept)
        record.earlier_starts, record.wall_s = earlier_starts, wall_s
        record.write()
        return record

    def _jobs(
        self,
        record: SweepFile,
        groups: Sequence[ServerGroup],
        limits: StopLimits,
        allowed: Mapping[Identity, tuple[str, ...]],
    ) -> list[GroupJob]:
        hydra_overrides = tuple(self.master.hydra.overrides.hydra)
        return [
            GroupJob(
                sweep_id=record.sweep_id,
                sweep_dir=str(record.directory),
                number=number,
                points=group.points,
                config_name=str(self.master.hydra.job.config_name),
                hydra_overrides=hydra_overrides,
                limits=limits,
                swept=record.swept,
                engine_versions=allowed[group.points[0].identity],
            )
            for number, group in enumerate(groups)
        ]

    def _conclude(self, record: SweepFile, jobs: list[GroupJob]) -> list[GroupEnd]:
        groups: list[GroupEnd] = []
        departures = PendingShutdown()
        shared = SharedContext(composer=self.composer, outbox=self.outbox, departures=departures)
        with departures, self.outbox, share_with_jobs(shared):
            try:
                for ended in self._launched(jobs):
                    groups.append(ended)
                    record.add(ended.outcomes, ended.server_starts)
            except KeyboardInterrupt:
                self._interrupted(record, jobs, groups)
                raise
            skipped = next((outcome for outcome in record.ordered() if outcome.status == "skipped"), None)
            record.stopped = skipped.error if skipped else None
            record.write(finished=skipped is None)
            self._log_repeats(record.ordered())
        self._report(record)
        return groups

    def _interrupted(self, record: SweepFile, jobs: Sequence[GroupJob], groups: Sequence[GroupEnd]) -> None:
        left = submitit_jobs.cancel_jobs(record.directory, CANCEL_TIMEOUT_S)
        if left:
            _say(f"jobs that do not end: {', '.join(left)}")
        seen = {ended.job.number for ended in groups}
        for ended in interrupted_groups(job for job in jobs if job.number not in seen):
            record.add(ended.outcomes, ended.server_starts)
        record.stopped = "interrupted"
        record.write()
        _say(f"go on with: {_go_on(record)}")

    def _launched(self, jobs: list[GroupJob]) -> Iterator[GroupEnd]:
        """All jobs, those of equal resources together (a cluster's launcher asks for the same for all its jobs)."""
        batches: dict[str, list[GroupJob]] = {}
        configs: dict[str, DictConfig] = {}
        for job in jobs:
            config = self._launcher_config(job)
            key = OmegaConf.to_yaml(config.hydra.launcher, resolve=False) + str(_resources(config))
            configs.setdefault(key, config)
            batches.setdefault(key, []).append(job)
        return launch_all([self._batch(configs[key], members) for key, members in batches.items()])

    def _batch(self, config: DictConfig, jobs: Sequence[GroupJob]) -> LaunchBatch:
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=self.task, config=config
        )
        ray = ray_launcher.resource_request(launcher, config)
        return LaunchBatch(type(launcher).__name__, partial(_launch, launcher), tuple(jobs), ray)

    def _launcher_config(self, job: GroupJob) -> DictConfig:
        if str(self.master.hydra.launcher._target_).endswith("BasicLauncher"):
            return self.master
        config = self.composer.launcher(job.points[0].overrides)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.sweep.dir = str(job.sweep_dir)
            config.hydra.overrides.hydra = list(self.master.hydra.overrides.hydra)
        return config

    def _report(self, record: SweepFile) -> None:
        outcomes = record.ordered()
        _summary(record)
        for line in failure_lines(outcomes, record.swept, options_of(sys.argv[1:])):
            _say(line)
        problem = verdict_line(outcomes)
        if problem:
            why = f"{record.stopped}: " if record.stopped else ""
            raise SweepFailed(f"{why}{problem}", hint=f"go on with: {_go_on(record)}")

    def _log_repeats(self, outcomes: Sequence[Outcome]) -> None:
        """Tell the tracker what the repeats of each point come to."""
        for repeated in summarize_repeats(outcomes):
            point = repeated["point_key"], repeated["variant"]
            config = next(config for identity, config in self.configs.items() if identity[:2] == point)
            measured = [Path(o.directory) for o in outcomes if o.identity[:2] == point and o.status == "ok"]
            self.outbox.log_repeats(config.tracking, repeated, measured)

    def _say_plan(self, groups: Sequence[ServerGroup], kept: int) -> None:
        points = sum(len(group.points) for group in groups)
        more = f"; {kept} kept from before" if kept else ""
        _say(f"sweep: {count_of(points, 'point')} on {count_of(len(groups), 'server')}{more}")

    def _print_plan(self, groups: Sequence[ServerGroup], kept: int, directory: Path, swept: Sequence[str]) -> None:
        history = checked_points.history_s(_outputs(directory))
        for line in plan_lines(groups, kept, history, swept):
            sys.stdout.write(f"{line}\n")


def _kept_outcomes(points: Sequence[PlannedPoint], kept: Sequence[resume.FoundResult]) -> dict[Identity, Outcome]:
    there = {done.identity for done in kept}
    found = [
        outcome_from_disk(point, blank_outcome(point, status="failed"), kept=True)
        for point in points
        if point.identity in there
    ]
    return {outcome.identity: outcome for outcome in found}


def _outputs(directory: Path) -> Path:
    """The root of earlier results: the directory called outputs above the sweep's, or the one above it."""
    return next((parent for parent in directory.parents if parent.name == "outputs"), directory.parent)


def _spec_of() -> checked_points.SpecOf:
    from benchhydra.run import spec_of

    return spec_of


def _launch(launcher: Any, jobs: Sequence[Sequence[str]], first: int) -> Sequence[Any]:
    returned = launcher.launch([list(job) for job in jobs], initial_job_idx=first)
    for job in returned:
        error = job._return_value
        if isinstance(error, Exception):
            raise error
    return [job._return_value for job in returned]


def _resources(config: DictConfig) -> Any:
    resources = {key: config.hydra.launcher.get(key) for key in ("gpus_per_node", "cpus_per_task")}
    return resources | {"ray": OmegaConf.select(config, "hydra.launcher.ray.remote.num_gpus")}


def _summary(record: SweepFile) -> None:
    from benchhydra.render.sweep_summary import print_summary, write_summary
    from benchhydra.tracking.mlflow import sweep_link

    write_summary(record.directory)
    print_summary(record.directory)
    link = sweep_link(record.sweep_id, [Path(point.directory) for point in record.points])
    if link:
        sys.stdout.write(f"mlflow: {link}  (benchhydra ui serves it)\n")


def _go_on(record: SweepFile) -> str:
    kept = [word for word in sys.argv[1:] if not word.startswith("sweep.resume=")]
    return shlex.join(["benchhydra", *kept, f"sweep.resume={record.directory}"])


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
