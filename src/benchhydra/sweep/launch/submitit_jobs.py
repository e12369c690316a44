"""Jobs that submitit has started, and that must not outlive their sweep, or meet its resumption.

submitit keeps a folder a job: named after its id, with a ``*_submitted.pkl``, with a ``*_result.pkl`` once it has
ended by itself, and with a ``*_submission.sh`` where it was given to Slurm. Local ids are those of processes.
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

FOLDER = ".submitit"
LOCAL_MODULE = "submitit.local._local"
SLURM_TIMEOUT_S = 60.0
POLL_S = 0.2
QUIET_S = 1.0


def cancel_jobs(sweep_dir: Path, timeout_s: float) -> list[str]:
    """Cancel every unfinished job of a sweep, and return the ids of those that are still there after a time.

    It looks on for a moment after the last one, because a launcher may be about to start another.
    """
    told: set[str] = set()
    now_s = time.monotonic()
    deadline_s, quiet_s = now_s + timeout_s, now_s + (QUIET_S if (sweep_dir / FOLDER).is_dir() else 0.0)
    while (left := _tell(sweep_dir, told)) or time.monotonic() < quiet_s:
        if time.monotonic() > deadline_s:
            break
        if left:
            quiet_s = time.monotonic() + QUIET_S
        time.sleep(POLL_S)
    return left


def _tell(sweep_dir: Path, told: set[str]) -> list[str]:
    """Cancel the unfinished jobs that have not been told, and return the ids of all that are there."""
    local, slurm = _local(sweep_dir), _queued(_slurm_ids(sweep_dir))
    for process in local:
        if str(process.pid) not in told:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()  # the controller hands it to the job, which stops its server
    if new := sorted(set(slurm) - told):
        _run("scancel", *new)
    left = [str(process.pid) for process in local] + slurm
    told.update(left)
    return left


def end_earlier_jobs(sweep_dir: Path, timeout_s: float) -> int:
    """End what a killed sweep has left running, before its points are measured again. Raises BenchhydraError."""
    there = [*_local(sweep_dir), *_queued(_slurm_ids(sweep_dir))]
    if there:
        left = cancel_jobs(sweep_dir, timeout_s)
        if left:
            raise BenchhydraError(
                f"jobs of the earlier run do not end: {', '.join(left)}", hint="scancel or kill them, then resume"
            )
    shutil.rmtree(sweep_dir / FOLDER, ignore_errors=True)
    return len(there)


def _unfinished(sweep_dir: Path) -> Iterator[Path]:
    for folder in sorted((sweep_dir / FOLDER).glob("*")):
        if any(folder.glob("*_submitted.pkl")) and not any(folder.glob("*_result.pkl")):
            yield folder


def _slurm_ids(sweep_dir: Path) -> list[str]:
    return [folder.name for folder in _unfinished(sweep_dir) if any(folder.glob("*_submission.sh"))]


def _local(sweep_dir: Path) -> list[psutil.Process]:
    """The controllers of local jobs: processes of those ids that do work for this sweep."""
    found = []
    for folder in _unfinished(sweep_dir):
        with contextlib.suppress(psutil.Error, ValueError):
            process = psutil.Process(int(folder.name))
            if process.status() != psutil.STATUS_ZOMBIE and _works_for(sweep_dir, process.cmdline()):
                found.append(process)
    return found


def _works_for(sweep_dir: Path, words: list[str]) -> bool:
    return LOCAL_MODULE in words and any(word.startswith(str(sweep_dir)) for word in words)


def _queued(ids: list[str]) -> list[str]:
    """Those of some Slurm jobs that wait or run. squeue fails where it knows none of them any more."""
    if not ids:
        return []
    done = _run("squeue", "--noheader", "--format=%A", f"--jobs={','.join(ids)}")
    return sorted(set(done.stdout.split()) & set(ids)) if done.returncode == 0 else []


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=SLURM_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchhydraError(f"cannot ask Slurm about this sweep's jobs: {error}", hint="scancel JOB") from error
