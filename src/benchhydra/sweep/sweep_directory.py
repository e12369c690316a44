"""The directory of a sweep: choose it, tell Hydra, and clear what an earlier run has left in it."""

from __future__ import annotations

import shlex
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from omegaconf import DictConfig, open_dict, read_write

from benchhydra.artifacts import FAILURES_FILE, JOBS_LOCK_FILE, JOURNALS_DIR, SWEEP_FILE, SWEEP_LOCK_FILE
from benchhydra.errors import BenchhydraError, ConfigError, ResultError
from benchhydra.output_directory import HINT, PathLock, claim_directory
from benchhydra.points import PlannedPoint
from benchhydra.render.figures import count
from benchhydra.sweep.messages import say
from benchhydra.sweep.plan.sweep_plan import NewDirectory
from benchhydra.sweep.sweep_file import SweepFile, read_earlier_sweep

#: Longer than an engine takes to stop.
CANCEL_TIMEOUT_S = 60.0


def new_directory(master: DictConfig) -> NewDirectory:
    """``hydra.sweep.dir``: as it was typed, or else the default, with a number if another sweep has it."""
    path = Path(str(master.hydra.sweep.dir)).absolute()
    typed = any(str(override).startswith("hydra.sweep.dir=") for override in master.hydra.overrides.hydra)
    return NewDirectory(path=path, claim=partial(_without_sweep if typed else claim_directory, path))


def _without_sweep(directory: Path) -> Path:
    """The directory. Raises ConfigError if it holds a sweep."""
    if (directory / SWEEP_FILE).exists():
        raise ConfigError(f"{directory} already holds a sweep", hint=f"sweep.resume={directory} resumes it")
    return directory


def set_directory(master: DictConfig, directory: Path) -> None:
    """Set the sweep's directory in Hydra's config, from which launchers and jobs read it.

    Hydra creates ``hydra.sweep.subdir`` for each of its jobs, which are groups here: their points have directories.
    """
    quoted = str(directory).replace("'", "\\'")
    with read_write(master.hydra), open_dict(master.hydra):
        master.hydra.sweep.dir, master.hydra.sweep.subdir = str(directory), "."
        master.hydra.overrides.hydra += [f"hydra.sweep.dir='{quoted}'", "hydra.sweep.subdir='.'"]


@contextmanager
def open_sweep(directory: Path, points: Sequence[PlannedPoint], *, resumed: bool) -> Iterator[SweepFile]:
    """Prepare the directory and write its ``sweep.json``; a resumed sweep continues its id and counts.

    During the block no other process may run this sweep. Ends the jobs that a killed run has left, and removes its
    journals: results alone tell which points are measured. Raises BenchhydraError if another process runs the sweep, a
    job does not end or the directory cannot be written.
    """
    with PathLock(directory / JOURNALS_DIR / SWEEP_LOCK_FILE, create=True) as lock:
        if not _granted(lock):
            raise BenchhydraError(f"another process runs the sweep in {directory}", hint="wait until it has ended")
        if resumed:
            _end_earlier_jobs(directory)
        else:
            _without_sweep(directory)  # another process may have begun and ended one meanwhile
        earlier = read_earlier_sweep(directory)  # again: the jobs that ended have added server starts
        sweep_file = SweepFile(
            directory=directory,
            sweep_id=earlier.sweep_id if earlier else uuid.uuid4().hex,
            command=shlex.join(["benchhydra", *sys.argv[1:]]),
            points=points,
            earlier=earlier,
        )
        sweep_file.write()
        _remove_journals(directory)
        yield sweep_file


def job_lock(sweep_dir: Path) -> PathLock:
    """The lock that each job of a sweep shares while it runs: a run that resumes the sweep waits for it."""
    return PathLock(sweep_dir / JOURNALS_DIR / JOBS_LOCK_FILE, create=True)


def _granted(lock: PathLock) -> bool:
    try:
        return lock.acquire()
    except OSError as error:
        raise ResultError(f"cannot write to {error.filename}: {error.strerror}", hint=HINT) from error


def _end_earlier_jobs(directory: Path) -> None:
    from benchhydra.sweep.launch.submitit import end_earlier_jobs  # start-up time: psutil takes 7 ms

    ended_jobs = end_earlier_jobs(directory, CANCEL_TIMEOUT_S)
    if ended_jobs:
        say(f"ended {count(ended_jobs, 'job')} of the earlier run first")
    with job_lock(directory) as jobs:
        if not jobs.acquire(timeout_s=CANCEL_TIMEOUT_S):
            raise BenchhydraError(
                f"jobs of the earlier run in {directory} do not end", hint="wait or kill them, then resume"
            )


def _remove_journals(directory: Path) -> None:
    """Remove what a killed run has left: journals, the count of failures, files that it was writing."""
    (directory / JOURNALS_DIR / FAILURES_FILE).unlink(missing_ok=True)
    for file in (*(directory / JOURNALS_DIR).glob("*.json"), *directory.glob("*.tmp"), *directory.glob("*/*.tmp")):
        file.unlink(missing_ok=True)
