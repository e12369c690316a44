"""The answers of a sweep's searches, in the words of the terminal's table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchhydra.analysis.runs import Run
from benchhydra.artifacts import SWEEP_FILE, read_json
from benchhydra.errors import ResultError
from benchhydra.render.answer_rows import answer_table
from benchhydra.render.sweep_rows import read_sweep


def answers_data(sweep_id: str, runs: Sequence[Run]) -> dict[str, Any] | None:
    """``columns`` and ``rows`` of the answers; None if the sweep has none, or its file is not beside its runs."""
    folders = dict.fromkeys(run.directory.parent for run in runs if run.directory)
    directories = dict.fromkeys(directory for folder in folders if (directory := _sweep_directory(folder)))
    directory = next((each for each in directories if _has_answers(each, sweep_id)), None)
    if directory is None:
        return None
    columns, rows = answer_table(read_sweep(directory))
    return {"columns": columns, "rows": rows} if rows else None


def _sweep_directory(folder: Path) -> Path | None:
    """The nearest directory from a folder upwards that holds a ``sweep.json``."""
    return next((each for each in (folder, *folder.parents) if (each / SWEEP_FILE).is_file()), None)


def _has_answers(directory: Path, sweep_id: str) -> bool:
    try:
        facts = read_json(directory / SWEEP_FILE)
    except ResultError:
        return False  # what is wrong with it is no concern of the runs' figures
    return facts.get("sweep_id") == sweep_id and bool(facts.get("answers"))
