"""The directory of a sweep: choose it, tell Hydra, and clear what an earlier run has left in it."""

from __future__ import annotations

import shlex
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, open_dict, read_write

from benchhydra.artifacts import FAILURES_FILE, JOURNALS_DIR, SWEEP_FILE
from benchhydra.points import PlannedPoint
from benchhydra.render.figures import count
from benchhydra.sweep.launch.submitit import end_earlier_jobs
from benchhydra.sweep.messages import say
from benchhydra.sweep.sweep_file import SweepFile, read_earlier_sweep

#: Longer than an engine takes to stop.
CANCEL_TIMEOUT_S = 60.0


def choose_directory(master: DictConfig) -> Path:
    """``hydra.sweep.dir``; the default gets a number if it exists, because two sweeps may begin within one second."""
    directory = Path(str(master.hydra.sweep.dir)).absolute()
    typed = any(str(override).startswith("hydra.sweep.dir=") for override in master.hydra.overrides.hydra)
    number = 1
    while not typed and (directory / SWEEP_FILE).exists():
        number += 1
        directory = directory.with_name(f"{directory.name.partition('.')[0]}.{number}")
    return directory


def set_directory(master: DictConfig, directory: Path) -> None:
    """Set the sweep's directory in Hydra's config, from which launchers and jobs read it."""
    quoted = str(directory).replace("'", "\\'")
    with read_write(master.hydra), open_dict(master.hydra):
        master.hydra.sweep.dir = str(directory)
        master.hydra.overrides.hydra.append(f"hydra.sweep.dir='{quoted}'")


def open_sweep(directory: Path, points: Sequence[PlannedPoint]) -> SweepFile:
    """Prepare the directory and write its ``sweep.json``; if it holds a sweep, continue that one's id and counts.

    Ends the jobs that a killed run has left, and removes its journals: results alone tell which points are measured.
    Raises BenchhydraError if a job does not end or the directory cannot be written.
    """
    if read_earlier_sweep(directory) is not None:
        ended_jobs = end_earlier_jobs(directory, CANCEL_TIMEOUT_S)
        if ended_jobs:
            say(f"ended {count(ended_jobs, 'job')} of the earlier run first")
    earlier = read_earlier_sweep(directory)  # again: the jobs that ended have added server starts
    directory.mkdir(parents=True, exist_ok=True)
    (directory / JOURNALS_DIR / FAILURES_FILE).unlink(missing_ok=True)
    for journal in (directory / JOURNALS_DIR).glob("*.json"):
        journal.unlink()
    sweep_file = SweepFile(
        directory=directory,
        sweep_id=earlier.sweep_id if earlier else uuid.uuid4().hex,
        command=shlex.join(["benchhydra", *sys.argv[1:]]),
        points=points,
        earlier=earlier,
    )
    sweep_file.write()
    return sweep_file
