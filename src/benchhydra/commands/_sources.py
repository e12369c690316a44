"""What compare, gate, ab and history share on the command line: sources of runs and where output goes."""

from __future__ import annotations

import sys
from pathlib import Path

from benchhydra.analysis.read_runs import from_tree, read_runs
from benchhydra.analysis.runs import Runs
from benchhydra.errors import ResultError

HISTORY = "outputs"


def runs_of(source: str) -> Runs:
    """The runs of a source: a path, or ``mlflow:EXPERIMENT?filter``. Raises ResultError."""
    found = read_runs(source, _from_mlflow)
    if found.faults:
        sys.stderr.write(f"{source}: {len(found.faults)} files left out, the first: {found.faults[0]}\n")
    return found


def history_of(source: str | None) -> Runs:
    """The runs of a history; by default those under outputs/, if there are any."""
    if source is not None:
        return runs_of(source)
    return from_tree(Path(HISTORY)) if Path(HISTORY).is_dir() else Runs([], {})


def _from_mlflow(query: str) -> Runs:
    from benchhydra.analysis.runs import runs_of_results
    from benchhydra.tracking.source import results_from_mlflow

    return runs_of_results(results_from_mlflow(query), f"mlflow:{query}")


def write_output(text: str, output: Path | None) -> None:
    """Write a document to a file, or to stdout."""
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ResultError(f"cannot write {output}: {error.strerror}", hint="-o FILE names another place") from error
