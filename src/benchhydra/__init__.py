"""benchhydra: benchmarks of LLM inference as composed experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path  # start-up time: the probes' helper process does without it

    from benchhydra.stored_runs import StoredRuns

__version__ = "0.1.0"


def load(source: str | Path, *more: str | Path) -> StoredRuns:
    """Read runs as objects: a result.json, a directory with results, an archive, or ``mlflow:EXPERIMENT?filter``.

    Raises ResultError if a source has no results. ``docs/python.md`` shows what the objects have.
    """
    from benchhydra import stored_runs  # start-up time: every process imports this package

    return stored_runs.load(source, *more)
