"""Running a point again, as a program of its own: what confirms a regression, and what an A/B test alternates."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.runs import Run, Runs
from benchhydra.artifacts import RESULT_FILE
from benchhydra.errors import ResultError
from benchhydra.interruption import run_program

SWEEP_FILE = "sweep.json"
STDERR = 2
#: Keys that belong to the sweep that a point was part of, or that a re-run sets itself.
NOT_OURS = ("repeat", "repeats", "seed", "tracking", "script.fail_on")
NOT_OURS_BELOW = ("hydra.", "sweep.", "tracking.")

#: Runs of a point again: (point's run, how often) -> new runs.
Rerun = Callable[[Run, int], list[Run]]


def overrides_of(run: Run) -> list[str] | None:
    """The overrides that make a run's point, from its result or its sweep; None where nobody wrote them."""
    if run.directory is None:
        return None
    found = _from_result(run.directory) or _from_sweep(run.directory)
    return None if found is None else [word for word in found if _ours(word)]


def _ours(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0]
    return key not in NOT_OURS and not key.startswith(NOT_OURS_BELOW)


def _from_result(directory: Path) -> list[str] | None:
    found = _read(directory / RESULT_FILE).get("metadata", {}).get("overrides")
    return found if isinstance(found, list) else None


def _from_sweep(directory: Path) -> list[str] | None:
    """The overrides of the sweep's point that lies in ``directory``."""
    for parent in directory.parents[:3]:
        data = _read(parent / SWEEP_FILE)
        entries = [entry for key in ("points", "outcomes") for entry in data.get(key) or () if isinstance(entry, dict)]
        for entry in entries:
            if (parent / str(entry.get("directory"))).resolve() == directory.resolve():
                return [str(word) for word in entry.get("overrides", ())]
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return data if isinstance(data, dict) else {}


def rerun_command(overrides: Sequence[str], directory: Path, repeats: int) -> list[str]:
    """The program that measures a point ``repeats`` times into ``directory``, on one server."""
    quoted = str(directory).replace("'", "\\'")
    own = (f"repeats={repeats}", "script.fail_on=never", "tracking=none", f"hydra.sweep.dir='{quoted}'")
    return [sys.executable, "-m", "benchhydra", "-m", *overrides, *own]


def measure_candidate(overrides: Sequence[str], directory: Path, repeats: int) -> list[Run]:
    """The runs of a point that is measured ``repeats`` times."""
    return measured_directories(overrides, directory, repeats).runs


def measured_directories(overrides: Sequence[str], directory: Path, repeats: int) -> Runs:
    """Measure a point ``repeats`` times. Its output goes to our stderr. Raises ResultError where nothing came of it."""
    words = rerun_command(overrides, directory.resolve(), repeats)
    code = run_program(words, stdout=STDERR)
    try:
        return read_runs(str(directory))
    except ResultError as error:
        raise ResultError(f"running a point again left no result (exit code {code})", hint=shlex.join(words)) from error


def into_directory(directory: Path, more: Sequence[str] = ()) -> Rerun:
    """A ``Rerun`` that puts its points below ``directory``, with more overrides at the end."""
    count = 0

    def rerun(run: Run, repeats: int) -> list[Run]:
        nonlocal count
        count += 1
        words = overrides_of(run)
        if words is None:
            raise ResultError(f"{run.source} does not say how to run it again", hint="--no-confirm decides without")
        return measure_candidate([*words, *more], directory / f"{count:02d}-{run.point_key}", repeats)

    return rerun
