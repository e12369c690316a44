"""Tracking: where results are logged beside ``result.json``. The only importer of mlflow, and only inside functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchhydra.registry import option
from benchhydra.result import Result


@dataclass(kw_only=True)
class Tracking:
    """Base of the ``tracking`` group."""

    #: Whether logging takes so long that a sweep leaves it to another process, between measurements.
    slow: ClassVar[bool] = False

    def prepare(self) -> None:
        """Load and create what logging will need, where that takes long. Never raises."""

    def logged(self, directory: Path) -> bool:
        """Whether the point in this directory has been logged. Slow trackers must override it."""
        return True

    def log(self, result: Result, directory: Path) -> str | None:
        """Log a point whose files lie in ``directory``. Returns a link to it, or None.

        Never raises: what goes wrong is printed to stderr.
        """
        raise NotImplementedError

    def log_repeats(self, repeated: Mapping[str, Any], directories: Sequence[Path]) -> None:
        """Log the summary of a point's repeats: an entry of ``repeats`` in ``sweep.json``. Never raises."""


@option("tracking", "none")
class NoTracking(Tracking):
    """No tracker; ``result.json`` is written all the same."""

    def log(self, result: Result, directory: Path) -> str | None:
        return None
