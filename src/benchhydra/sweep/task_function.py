"""The function that Hydra calls for every job, its "task function": a group of a sweep, or a single point."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from benchhydra import config as schema
from benchhydra import interruption, metrics, redaction
from benchhydra.artifacts import SERVER_LOGS_DIR
from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.points import Outcome
from benchhydra.progress import Progress, make_progress
from benchhydra.render.point_report import PointReport
from benchhydra.render.terminal.point_table import print_point
from benchhydra.result import Result
from benchhydra.run import refuse_verdict, run_point, spec_of
from benchhydra.servers.pool import ServerPool
from benchhydra.sweep.group.group_run import GroupRun
from benchhydra.sweep.group.job import GroupJob, decode_job
from benchhydra.sweep.group.point_runner import PointRunner
from benchhydra.sweep.plan.compose import Composer
from benchhydra.sweep.run_directory import run_directory
from benchhydra.sweep.shared_context import shared_context
from benchhydra.sweep.sweep_directory import job_lock
from benchhydra.tracking.links import read_links
from benchhydra.tracking.outbox import Outbox

#: The jobs' lock is taken exclusively only for a moment, by a run that resumes the sweep.
LOCK_TIMEOUT_S = 10.0


def task_function(config: DictConfig) -> list[Outcome] | Exception | float | None:
    """Run a group of a sweep and return its outcomes, or a single point and return its objective (None: not set).

    The error that ended a single run is returned, because Hydra would print a line of its own. A job of another
    sweeper (``hydra/sweeper=basic``) raises it, because the sweeper looks for jobs that raised.
    """
    schema.register()  # a worker of joblib, submitit or ray begins with an empty registry ...
    redaction.guard_output()  # ... and has its own output
    if config.sweep.job is not None:
        return _run_group(decode_job(str(config.sweep.job)))
    try:
        return _run_single(config)
    except Exception as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        return error


def _run_group(job: GroupJob) -> list[Outcome]:
    _unwind_on_sigterm()
    with job_lock(Path(job.sweep_dir)) as lock:
        lock.acquire(shared=True, timeout_s=LOCK_TIMEOUT_S)
        return _run_points(job)


def _run_points(job: GroupJob) -> list[Outcome]:
    shared = shared_context()
    pool = ServerPool(Path(job.sweep_dir) / SERVER_LOGS_DIR, pending_shutdown=shared.shutdown if shared else None)
    outbox_context = nullcontext(shared.outbox) if shared else Outbox()
    with _progress(f"group {job.number + 1}") as progress, outbox_context as outbox:
        runner = PointRunner(
            sweep_id=job.sweep_id,
            engine_versions=job.engine_versions,
            compose=shared.composer if shared else _composer(job),
            run_point=run_point,
            pool=pool,
            progress=progress,
            outbox=outbox,
        )
        return GroupRun(job=job, runner=runner).run()


def _composer(job: GroupJob) -> Composer:
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoaderImpl)
    return Composer(loader, job.config_name, job.hydra_overrides)


def _unwind_on_sigterm() -> None:
    """Make SIGTERM, which cancels submitit's jobs and which they ignore by default, raise an exception as elsewhere."""
    if "SUBMITIT_EXECUTOR" in os.environ and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: FrameType | None) -> NoReturn:
    interruption.unwind(number)


def _run_single(composed: DictConfig) -> float | None:
    """Check, measure and print one point, in the output directory that Hydra chose. Returns its objective."""
    config: Any = OmegaConf.to_object(composed)
    if config.repeats > 1 or config.search.adds_points or config.sweep.resume or config.sweep.plan:
        raise ConfigError("repeats, search, sweep.resume and sweep.plan need a sweep", hint="add -m")
    if config.objective is not None and metrics.declared(config.objective) is None:
        hint = metrics.not_computed_hint(config.objective)
        raise ConfigError(f"objective={config.objective}: no such metric", hint=hint)
    spec_of(config)
    with run_directory(HydraConfig.get()) as directory:
        return _objective(_run_in_directory(config, directory), config.objective)


def _objective(result: Result, name: str | None) -> float | None:
    """The metric that another sweeper optimizes. Raises BenchhydraError if the point does not have it."""
    if name is None:
        return None
    if name not in result.metrics:
        measured = ", ".join(result.key_metrics)
        raise BenchhydraError(f"objective={name} was not measured by script={result.script}", hint=f"one of {measured}")
    return result.metrics[name].value


def _run_in_directory(config: Any, directory: Path) -> Result:
    pool = ServerPool(directory / SERVER_LOGS_DIR)
    with _progress(directory.name) as progress:
        try:
            result = run_point(
                config,
                resolved=schema.plain_config(config),
                out_dir=directory,
                pool=pool,
                overrides=HydraConfig.get().overrides.task,
                progress=progress,
            )
        finally:
            pool.close()
    if result.status == "interrupted":
        raise interruption.interrupt_exception()
    report = PointReport(result=result, directory=directory, mlflow_link=read_links(directory).get("link"))
    print_point(report, sys.stdout)
    refuse_verdict(result, config)
    return result


def _progress(label: str) -> AbstractContextManager[Progress]:
    """The progress display of a job in the main thread; a job in a launcher's thread shows none."""
    if threading.current_thread() is not threading.main_thread():
        return nullcontext(Progress())
    return make_progress(label)
