"""The function that Hydra calls for every job, its "task function": a group of a sweep, or a single point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from benchhydra import config as schema
from benchhydra import interruption, redaction
from benchhydra.artifacts import SERVER_LOGS_DIR
from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.garbage_collection import begin_collection
from benchhydra.points import Outcome
from benchhydra.probes.watch import start_helper
from benchhydra.progress import make_progress
from benchhydra.render.point_report import PointReport
from benchhydra.result import Result
from benchhydra.run import refuse_verdict, run_point, spec_of
from benchhydra.servers.pool import ServerPool
from benchhydra.sweep.run_directory import run_directory
from benchhydra.sweep.standard_output import print_run
from benchhydra.tracking.links import read_links


def task_function(config: DictConfig) -> list[Outcome] | Exception | float | None:
    """Run a group of a sweep and return its outcomes, or a single point and return its objective (None: not set).

    The error that ended a single run is returned, because Hydra would print a line of its own. A job of another
    sweeper (``hydra/sweeper=basic``) raises it, because the sweeper looks for jobs that raised.
    """
    schema.register()  # a worker of joblib, submitit or ray begins with an empty registry ...
    redaction.guard_output()  # ... and has its own output
    begin_collection()
    if config.sweep.job is not None:
        from benchhydra.sweep.group.job_run import run_group  # start-up time: 10 ms that a single point does not need

        return run_group(str(config.sweep.job))
    try:
        return _run_single(config)
    except Exception as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        return error


def _run_single(composed: DictConfig) -> float | None:
    """Check, measure and print one point, in the output directory that Hydra chose. Returns its objective."""
    config: Any = OmegaConf.to_object(composed)
    start_helper(config.probes)  # it starts on another core while the point is being prepared
    if config.repeats > 1 or config.search.adds_points or config.sweep.resume or config.sweep.plan:
        raise ConfigError("repeats, search, sweep.resume and sweep.plan need a sweep", hint="add -m")
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
    with make_progress(directory.name) as progress:
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
    print_run(report)
    refuse_verdict(result, config)
    return result
