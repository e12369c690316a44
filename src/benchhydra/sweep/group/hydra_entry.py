"""The function that Hydra calls for every job: a group of a sweep, or a single point."""

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
from omegaconf import DictConfig, OmegaConf

from benchhydra import config as schema
from benchhydra import interruption
from benchhydra.errors import ConfigError
from benchhydra.progress import Progress, make_progress
from benchhydra.result import Result
from benchhydra.sweep.group.group_run import GroupRun, decode_job
from benchhydra.sweep.group.shared_context import shared_context
from benchhydra.sweep.outcomes import Outcome
from benchhydra.sweep.plan.compose import Composer
from benchhydra.tracking.outbox import Outbox

SERVER_LOGS = "servers"


def hydra_task(config: DictConfig) -> list[Outcome] | Exception | None:
    """A sweep's group: its outcomes. A single run: None, or the error that ended it."""
    schema.register()  # a worker of joblib, submitit or ray begins with an empty registry
    if config.sweep.job is not None:
        return _group(str(config.sweep.job))
    try:
        _single(config)
    except Exception as error:  # noqa: BLE001 - returned: Hydra writes a line of its own for one that is raised
        return error
    return None


def _group(text: str) -> list[Outcome]:
    from benchhydra.run import refuse_verdict, run_point
    from benchhydra.servers.pool import ServerPool

    _end_on_sigterm()
    job = decode_job(text)
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoaderImpl)
    known = shared_context()
    composer = known.composer if known else Composer(loader, job.config_name, job.hydra_overrides)
    outbox = nullcontext(known.outbox) if known else Outbox()
    pool = ServerPool(Path(job.sweep_dir) / SERVER_LOGS, departures=known.departures if known else None)
    with _progress(f"group {job.number + 1}") as progress, outbox as box:
        return GroupRun(
            job=job,
            compose=composer,
            run_point=run_point,
            check=refuse_verdict,
            pool=pool,
            progress=progress,
            outbox=box,
        ).all()


def _end_on_sigterm() -> None:
    """submitit's jobs ignore SIGTERM, by which they are cancelled: here it unwinds, as in the program."""
    if "SUBMITIT_EXECUTOR" in os.environ and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: FrameType | None) -> NoReturn:
    interruption.unwind(number)


def _single(composed: DictConfig) -> None:
    from benchhydra.run import refuse_verdict, run_point, spec_of
    from benchhydra.servers.pool import ServerPool

    config: Any = OmegaConf.to_object(composed)
    resolved = schema.plain_config(config)
    if config.repeats > 1 or config.sweep.ci or config.sweep.resume or config.sweep.plan:
        raise ConfigError("repeats, sweep.ci, sweep.resume and sweep.plan belong to sweeps", hint="add -m")
    spec_of(config)
    directory = Path(HydraConfig.get().runtime.output_dir)
    pool = ServerPool(directory / SERVER_LOGS)
    with _progress(directory.name) as progress:
        try:
            result = run_point(
                config,
                resolved=resolved,
                out_dir=directory,
                pool=pool,
                overrides=HydraConfig.get().overrides.task,
                progress=progress,
            )
        finally:
            pool.close()
    if result.status == "interrupted":
        raise interruption.interrupt_exception()
    _show(result, directory)
    refuse_verdict(result, config)


def _show(result: Result, directory: Path) -> None:
    from benchhydra.render.point_report import PointReport
    from benchhydra.render.terminal.point_table import print_point
    from benchhydra.tracking.mlflow import read_links

    report = PointReport(result=result, directory=directory, mlflow_link=read_links(directory).get("link"))
    print_point(report, sys.stdout)


def _progress(label: str) -> AbstractContextManager[Progress]:
    """Progress of the points, where they run in the main thread; a thread of a launcher says nothing."""
    if threading.current_thread() is not threading.main_thread():
        return nullcontext(Progress())
    return make_progress(label)
