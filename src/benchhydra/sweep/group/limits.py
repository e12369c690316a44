"""Stopping a sweep early: its limits, and the count of failed points that all its jobs share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchhydra.config import Sweep


@dataclass(frozen=True, kw_only=True)
class StopLimits:
    """The limits of ``sweep.*``. deadline_s: seconds since the epoch, because jobs may run on other machines."""

    fail_fast: bool = False
    max_failures: int | None = None
    deadline_s: float | None = None
    max_time_s: float | None = None

    def stop_reason(self, failures: int, now_s: float) -> str | None:
        """Why no further point may start; None if no limit is reached."""
        if failures and self.fail_fast:
            return "sweep.fail_fast=true and a point failed"
        if self.max_failures is not None and failures >= self.max_failures:
            return f"sweep.max_failures={self.max_failures} was reached"
        if self.deadline_s is not None and now_s >= self.deadline_s:
            return f"sweep.max_time_s={self.max_time_s:g} has passed"
        return None


def stop_limits(settings: Sweep, now_s: float) -> StopLimits:
    """The limits of a sweep that starts at ``now_s`` (seconds since the epoch)."""
    return StopLimits(
        fail_fast=settings.fail_fast,
        max_failures=settings.max_failures,
        deadline_s=None if settings.max_time_s is None else now_s + settings.max_time_s,
        max_time_s=settings.max_time_s,
    )


@dataclass(frozen=True)
class FailureCount:
    """The number of failed points of a whole sweep, as the size of a file: jobs on any machine append one byte each."""

    path: Path

    def add(self) -> None:
        """Add one failed point."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(b"x")

    def read(self) -> int:
        """The number of failed points."""
        return self.path.stat().st_size if self.path.exists() else 0
