"""Splitting jobs into launches: jobs that need equal resources are launched together.

A cluster's launcher requests the same resources for all jobs of one launch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from benchhydra.sweep.group.job import GroupJob
from benchhydra.sweep.launch.launchers import LaunchBatch
from benchhydra.sweep.launch.ray import resource_request
from benchhydra.sweep.plan.compose import Composer


@dataclass(frozen=True, kw_only=True)
class HydraJobs:
    """What Hydra needs to launch jobs: its context, the task function, the sweep's own config; and the composer."""

    context: HydraContext
    task: TaskFunction
    master: DictConfig
    composer: Composer

    def batches(self, jobs: Sequence[GroupJob]) -> list[LaunchBatch]:
        """The jobs in batches of equal resources, in order of first appearance."""
        configs: dict[str, DictConfig] = {}
        members: dict[str, list[GroupJob]] = {}
        for job in jobs:
            config = self._launcher_config(job)
            key = OmegaConf.to_yaml(config.hydra.launcher, resolve=False) + str(_resources(config))
            configs.setdefault(key, config)
            members.setdefault(key, []).append(job)
        return [self._batch(config, members[key]) for key, config in configs.items()]

    def _launcher_config(self, job: GroupJob) -> DictConfig:
        """The config of a job's launcher. The basic launcher runs in this process and needs nothing from the job."""
        if str(self.master.hydra.launcher._target_).endswith("BasicLauncher"):
            return self.master
        config = self.composer.full_config(job.points[0].overrides)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.sweep.dir, config.hydra.sweep.subdir = str(job.sweep_dir), "."
            config.hydra.overrides.hydra = list(self.master.hydra.overrides.hydra)
        return config

    def _batch(self, config: DictConfig, jobs: Sequence[GroupJob]) -> LaunchBatch:
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=self.task, config=config
        )
        return LaunchBatch(
            kind=type(launcher).__name__,
            launch=partial(_launch, launcher),
            jobs=tuple(jobs),
            ray_request=resource_request(launcher, config),
        )


def _launch(launcher: Any, jobs: Sequence[Sequence[str]], first: int) -> Sequence[Any]:
    """Launch jobs and return their return values. Raises the error of the first job that failed."""
    returned = launcher.launch([list(job) for job in jobs], initial_job_idx=first)
    for job in returned:
        error = job._return_value
        if isinstance(error, Exception):
            raise error
    return [job._return_value for job in returned]


def _resources(config: DictConfig) -> Any:
    """The resources that depend on a job's point, resolved: unresolved interpolations would always compare equal."""
    resources = {key: config.hydra.launcher.get(key) for key in ("gpus_per_node", "cpus_per_task")}
    return resources | {"ray": OmegaConf.select(config, "hydra.launcher.ray.remote.num_gpus")}
