"""One job of a launcher: the points of one group, on a server of their own, while no resumed sweep ends the job."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import NoReturn

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra

from benchhydra import interruption, registry
from benchhydra.artifacts import SERVER_LOGS_DIR
from benchhydra.points import Outcome
from benchhydra.progress import make_progress
from benchhydra.run import run_point
from benchhydra.servers.pool import ServerPool
from benchhydra.sweep.group.group_run import GroupRun
from benchhydra.sweep.group.job import GroupJob, decode_job
from benchhydra.sweep.group.point_runner import PointRunner
from benchhydra.sweep.group.time_left import TimeLeft
from benchhydra.sweep.plan.compose import Composer
from benchhydra.sweep.shared_context import shared_context
from benchhydra.sweep.sweep_directory import job_lock
from benchhydra.tracking.outbox import Outbox

#: The jobs' lock is taken exclusively only for a moment, by a run that resumes the sweep.
LOCK_TIMEOUT_S = 10.0


def run_group(encoded: str) -> list[Outcome]:
    """Run the group of an encoded ``GroupJob``, and return its outcomes."""
    job = decode_job(encoded)
    _unwind_on_sigterm()
    with job_lock(Path(job.sweep_dir)) as lock:
        lock.acquire(shared=True, timeout_s=LOCK_TIMEOUT_S)
        return _run_points(job)


def _run_points(job: GroupJob) -> list[Outcome]:
    shared = shared_context()
    pool = ServerPool(Path(job.sweep_dir) / SERVER_LOGS_DIR, pending_shutdown=shared.shutdown if shared else None)
    outbox_context = nullcontext(shared.outbox) if shared else Outbox()
    with make_progress(f"group {job.number + 1}") as progress, outbox_context as outbox:
        runner = PointRunner(
            sweep_id=job.sweep_id,
            engine_versions=job.engine_versions,
            compose=shared.composer if shared else _composer(job),
            run_point=run_point,
            pool=pool,
            progress=progress,
            outbox=outbox,
            search_judges=job.search is not None and registry.option_class("search", job.search).finds_limits,
        )
        time_left = shared.time_left if shared else _time_left(job)
        return GroupRun(job=job, runner=runner, time_left=time_left).run()


def _time_left(job: GroupJob) -> TimeLeft:
    """The estimate of the time that a group still takes, in a process that knows nothing of the other groups."""
    return TimeLeft(groups=[[point.identity for point in job.points]], open_ended=job.search is not None)


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
