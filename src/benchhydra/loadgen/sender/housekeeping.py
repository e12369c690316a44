"""Periodic tasks of a client process, every 20 ms: timeouts, progress reports, lag monitoring."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from typing import Any

from benchhydra.loadgen.client_facts import CPU_FRACTION
from benchhydra.loadgen.client_limits import OPEN_FILES_LIMIT
from benchhydra.loadgen.loop.loop_lag import LoopLagMonitor
from benchhydra.loadgen.sender.in_flight import RequestsInFlight
from benchhydra.loadgen.shards import ReportProgress, ShardProgress

_REPORT_NS = 250_000_000
_SECOND_NS = 1_000_000_000


class Housekeeping:
    """Runs the periodic tasks of one sender."""

    def __init__(
        self,
        in_flight: RequestsInFlight,
        timeout_s: float,
        progress: ShardProgress,
        report: ReportProgress,
        every_second: Callable[[], None] | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._in_flight = in_flight
        self._timeout_s = timeout_s
        self._timeouts_every_ns = int(min(1.0, max(0.02, timeout_s / 10)) * 1e9)
        self._progress = progress
        self._report = report
        self._every_second = every_second
        self._next_report_ns = self._next_timeouts_ns = self._next_second_ns = 0
        self._lag_monitor = LoopLagMonitor(loop, self._beat)

    @property
    def stalls_ns(self) -> array[float]:
        """The event loop's lateness at each beat."""
        return self._lag_monitor.late_ns

    def start(self, start_ns: int) -> None:
        """Start the periodic tasks at ``start_ns``."""
        self._lag_monitor.start(start_ns)

    def stop(self) -> dict[str, Any]:
        """Stop the periodic tasks. Returns the facts that this process has measured about itself."""
        cpu_fraction = self._lag_monitor.stop()
        facts: dict[str, Any] = {OPEN_FILES_LIMIT: self._in_flight.open_files_limit}
        return facts if cpu_fraction is None else facts | {CPU_FRACTION: cpu_fraction}

    def _beat(self, now_ns: int) -> None:
        if now_ns >= self._next_timeouts_ns:
            self._next_timeouts_ns = now_ns + self._timeouts_every_ns
            self._in_flight.give_up_after(self._timeout_s, now_ns)
        self._in_flight.cancel_due(now_ns)
        if now_ns >= self._next_report_ns:
            self._next_report_ns = now_ns + _REPORT_NS
            self._report(self._progress)
            self._progress.ttft_sum_ns = self._progress.ttft_count = 0
        if self._every_second is not None and now_ns >= self._next_second_ns:
            self._next_second_ns = now_ns + _SECOND_NS
            self._every_second()
