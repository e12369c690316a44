"""Tracking: where results are logged beside ``result.json``. The only importer of mlflow, and only inside functions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchhydra.registry import option
from benchhydra.result import Result


@dataclass(kw_only=True)
class Tracking:
    """Base of the ``tracking`` group."""

    def log(self, result: Result, directory: Path) -> str | None:
        """Log a point whose files lie in ``directory``. Returns a link to it, or None. Never raises: it says why."""
        raise NotImplementedError


@option("tracking", "none")
class NoTracking(Tracking):
    """No tracker; ``result.json`` is there all the same."""

    def log(self, result: Result, directory: Path) -> str | None:
        return None
