"""Measuring a point again, as a program of its own: confirms a regression, and is a visit of an A/B test."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.runs import Run, Runs
from benchhydra.artifacts import RESULT_FILE, SWEEP_FILE, read_json_or_none
from benchhydra.errors import ResultError
from benchhydra.interruption import run_program
from benchhydra.output_directory import claim_directory
from benchhydra.redaction import HIDDEN

STDERR = 2
#: Keys that belong to the sweep that a point was part of, or that a re-run sets itself.
SWEEP_KEYS = ("repeat", "repeats", "search", "seed", "tracking", "script.fail_on")
SWEEP_KEY_PREFIXES = ("hydra.", "search.", "sweep.", "tracking.")
#: How far above a point's directory its sweep.json may lie.
SWEEP_LEVELS = 3

#: Runs of a point again: (point's run, how often) -> new runs.
Rerun = Callable[[Run, int], list[Run]]


def overrides_of(run: Run) -> list[str] | None:
    """The overrides that make a run's point, from its result or its sweep.

    None where neither records them, or where one of them has a secret, which no file holds.
    """
    if run.directory is None:
        return None
    overrides = _from_result(run.directory) or _from_sweep(run.directory)
    own = None if overrides is None else [override for override in overrides if _makes_the_point(override)]
    return None if own is None or any(HIDDEN in override for override in own) else own


def _makes_the_point(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0]
    return key not in SWEEP_KEYS and not key.startswith(SWEEP_KEY_PREFIXES)


def _from_result(directory: Path) -> list[str] | None:
    result = read_json_or_none(directory / RESULT_FILE) or {}
    metadata = result.get("metadata")
    overrides = metadata.get("overrides") if isinstance(metadata, dict) else None
    return [str(override) for override in overrides] if isinstance(overrides, list) else None


def _from_sweep(directory: Path) -> list[str] | None:
    """The overrides of the sweep's point that lies in ``directory``."""
    for parent in directory.parents[:SWEEP_LEVELS]:
        sweep = read_json_or_none(parent / SWEEP_FILE) or {}
        for entry in (entry for key in ("points", "outcomes") for entry in _list(sweep, key)):
            if isinstance(entry, dict) and (parent / str(entry.get("directory"))).resolve() == directory.resolve():
                return [str(override) for override in _list(entry, "overrides")]
    return None


def _list(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    return value if isinstance(value, list) else []


def rerun_command(overrides: Sequence[str], directory: Path, repeats: int) -> list[str]:
    """The program that measures a point ``repeats`` times into ``directory``, on one server."""
    escaped = str(directory).replace("'", "\\'")
    own = (f"repeats={repeats}", "script.fail_on=never", "tracking=none", f"hydra.sweep.dir='{escaped}'")
    return [sys.executable, "-m", "benchhydra", "-m", *overrides, *own]


def measure_again(overrides: Sequence[str], directory: Path, repeats: int, log: Path | None = None) -> Runs:
    """Measure a point ``repeats`` times; the program's output goes to our stderr, or to the file ``log``.

    Raises ResultError where it left no result.
    """
    command = rerun_command(overrides, directory.resolve(), repeats)
    code = _run(command, log)
    try:
        return read_runs(str(directory))
    except ResultError as error:
        hint = shlex.join(command) + (f"; its output: {log}" if log else "")
        raise ResultError(f"measuring a point again left no result (exit code {code})", hint=hint) from error


def _run(command: Sequence[str], log: Path | None) -> int:
    if log is None:
        return run_program(command, stdout=STDERR)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return run_program(command, stdout=file.fileno(), stderr=file.fileno())


def into_directory(directory: Path, more: Sequence[str] = ()) -> Rerun:
    """A ``Rerun`` that puts its points below ``directory``, with more overrides at the end.

    If the directory exists at the first re-run, it gets a number: another program may have the same.
    """
    count, claimed = 0, directory

    def rerun(run: Run, repeats: int) -> list[Run]:
        nonlocal count, claimed
        claimed = claimed if count else claim_directory(directory)
        count += 1
        overrides = overrides_of(run)
        if overrides is None:
            raise ResultError(
                f"{run.source} does not record how to run it again", hint="--no-confirm decides without re-runs"
            )
        return measure_again([*overrides, *more], claimed / f"{count:02d}-{run.point_key}", repeats).runs

    return rerun
