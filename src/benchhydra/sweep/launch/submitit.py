"""Ending jobs that submitit has started: they must not outlive their sweep, nor run while another one resumes it.

submitit keeps a folder for each job, named after its id. It holds a ``*_submitted.pkl``, a ``*_result.pkl`` once the
job has ended by itself, and a ``*_submission.sh`` if it was submitted to Slurm. Ids of local jobs are process ids.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchhydra.errors import BenchhydraError

#: In the sweep's directory; conf/launcher/ names it too.
FOLDER = ".submitit"
LOCAL_MODULE = "submitit.local._local"
SLURM_TIMEOUT_S = 60.0
POLL_S = 0.2
#: Cancelling ends after this time without a job: a launcher may be about to start another.
QUIET_S = 1.0


def cancel_jobs(sweep_dir: Path, timeout_s: float) -> list[str]:
    """Cancel every unfinished job of a sweep, and return the ids of those that still run after ``timeout_s``."""
    cancelled: set[str] = set()
    now_s = time.monotonic()
    deadline_s, quiet_s = now_s + timeout_s, now_s + (QUIET_S if (sweep_dir / FOLDER).is_dir() else 0.0)
    while (running := _cancel_new(sweep_dir, cancelled)) or time.monotonic() < quiet_s:
        if time.monotonic() > deadline_s:
            break
        if running:
            quiet_s = time.monotonic() + QUIET_S
        time.sleep(POLL_S)
    return running


def end_earlier_jobs(sweep_dir: Path, timeout_s: float) -> int:
    """End the jobs that a killed sweep has left running, and return their number.

    Raises BenchhydraError if one does not end: two jobs must not measure the same points.
    """
    running = [*_local_jobs(sweep_dir), *_queued(_slurm_ids(sweep_dir))]
    if running:
        stuck = cancel_jobs(sweep_dir, timeout_s)
        if stuck:
            raise BenchhydraError(
                f"jobs of the earlier run do not end: {', '.join(stuck)}", hint="scancel or kill them, then resume"
            )
    shutil.rmtree(sweep_dir / FOLDER, ignore_errors=True)
    return len(running)


def _cancel_new(sweep_dir: Path, cancelled: set[str]) -> list[str]:
    """Cancel the unfinished jobs that are not in ``cancelled`` yet, add them, and return the ids of all that run."""
    processes, slurm_ids = _local_jobs(sweep_dir), _queued(_slurm_ids(sweep_dir))
    for process in processes:
        if str(process.pid) not in cancelled:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()  # the controller passes it on to the job, which stops its server
    if new := sorted(set(slurm_ids) - cancelled):
        _run("scancel", *new)
    running = [str(process.pid) for process in processes] + slurm_ids
    cancelled.update(running)
    return running


def _unfinished_folders(sweep_dir: Path) -> Iterator[Path]:
    for folder in sorted((sweep_dir / FOLDER).glob("*")):
        if any(folder.glob("*_submitted.pkl")) and not any(folder.glob("*_result.pkl")):
            yield folder


def _slurm_ids(sweep_dir: Path) -> list[str]:
    return [folder.name for folder in _unfinished_folders(sweep_dir) if any(folder.glob("*_submission.sh"))]


def _local_jobs(sweep_dir: Path) -> list[psutil.Process]:
    """The controllers of local jobs: processes whose id is a job's, and whose command line names this sweep."""
    controllers = []
    for folder in _unfinished_folders(sweep_dir):
        with contextlib.suppress(psutil.Error, ValueError):
            process = psutil.Process(int(folder.name))
            if process.status() != psutil.STATUS_ZOMBIE and _works_for(sweep_dir, process.cmdline()):
                controllers.append(process)
    return controllers


def _works_for(sweep_dir: Path, words: list[str]) -> bool:
    return LOCAL_MODULE in words and any(word.startswith(str(sweep_dir)) for word in words)


def _queued(ids: list[str]) -> list[str]:
    """The ids of the Slurm jobs that are pending or running. squeue fails if it has forgotten all of them."""
    if not ids:
        return []
    squeue = _run("squeue", "--noheader", "--format=%A", f"--jobs={','.join(ids)}")
    return sorted(set(squeue.stdout.split()) & set(ids)) if squeue.returncode == 0 else []


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=SLURM_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchhydraError(f"cannot ask Slurm about this sweep's jobs: {error}", hint="scancel JOB") from error
