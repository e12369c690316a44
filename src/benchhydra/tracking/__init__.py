"""Tracking: log results to a tracker, beside ``result.json``. Only this package imports mlflow, and in functions."""

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

    #: Whether logging is so slow that a sweep does it in another process, between measurements.
    slow: ClassVar[bool] = False

    def prepare(self) -> None:
        """Do the slow preparations of logging: import libraries, create the store. Never raises."""

    def logged(self, directory: Path) -> bool:
        """Whether the point in this directory has been logged. Trackers with ``slow = True`` must override this."""
        return True

    def log(self, result: Result, directory: Path) -> str | None:
        """Log the point in ``directory``. Returns a link to it, or None.

        Never raises: an error is printed to stderr.
        """
        raise NotImplementedError

    def log_repeats(self, repeated: Mapping[str, Any], directories: Sequence[Path]) -> None:
        """Log the summary of a point's repeats: an entry of ``repeats`` in ``sweep.json``. Never raises."""

    def log_answer(self, sweep_id: str, answer: Mapping[str, Any], directories: Sequence[Path]) -> None:
        """Log an entry of ``answers`` in ``sweep.json``; directories: of the search's points. Never raises."""

    def log_curves(self, sweep_id: str, directory: Path) -> None:
        """Log the curves of a sweep's logged points. ``directory``: the sweep's. Never raises."""


@option("tracking", "none")
class NoTracking(Tracking):
    """No tracker: only ``result.json`` is written."""

    def log(self, result: Result, directory: Path) -> str | None:
        return None
