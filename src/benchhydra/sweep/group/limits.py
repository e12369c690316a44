"""Stopping a sweep early: its limits, and the count of failed points that all its jobs share."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from benchhydra.config import Sweep


@dataclass(frozen=True, kw_only=True)
class StopLimits:
    """The limits of ``sweep.*``. deadline_s: seconds since the epoch, because jobs may run on other machines.

    boot_id, began_s, began_monotonic_s: the machine on which the sweep began, since when it runs, and the time on both
    of its clocks. There the monotonic one is used, because the system clock may jump.
    """

    fail_fast: bool = False
    max_failures: int | None = None
    deadline_s: float | None = None
    max_time_s: float | None = None
    boot_id: str = ""
    began_s: float = 0.0
    began_monotonic_s: float = 0.0

    def now_s(self) -> float:
        """The time in seconds since the epoch, without jumps on the machine on which the sweep began."""
        if self.boot_id and self.boot_id == _boot_id():
            return self.began_s + time.monotonic() - self.began_monotonic_s
        return time.time()

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
        boot_id=_boot_id(),
        began_s=now_s,
        began_monotonic_s=time.monotonic(),
    )


def _boot_id() -> str:
    """The id of this machine's boot, on which its monotonic clock depends; "" if it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


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
