"""Measures how late the client's event loop is, and how much CPU time its process uses."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable
from time import monotonic_ns

from benchhydra.loadgen.loop.timerfd import Timer

PERIOD_NS = 20_000_000


class LoopLagMonitor:
    """A timer that should fire every 20 ms. Records the lateness of each beat in ns, also of missed beats."""

    def __init__(self, loop: asyncio.AbstractEventLoop, beat: Callable[[int], None]) -> None:
        self.late_ns = array("f")
        self._beat = beat
        self._next_ns = self._start_ns = 0
        self._cpu_s = 0.0
        self._timer = Timer(loop, self._fired)

    def start(self, start_ns: int) -> None:
        """Start beating at ``start_ns``."""
        self._start_ns = start_ns
        self._next_ns = start_ns + PERIOD_NS
        self._cpu_s = time.process_time()
        self._timer.at(self._next_ns, PERIOD_NS)

    def _fired(self) -> None:
        now_ns = monotonic_ns()
        self._record(now_ns)
        self._beat(now_ns)

    def _record(self, now_ns: int) -> None:
        while self._next_ns <= now_ns:
            self.late_ns.append(now_ns - self._next_ns)
            self._next_ns += PERIOD_NS

    def stop(self) -> float | None:
        """Stop beating. Returns CPU seconds per second since the start; None if never started.

        It records the beats that are still due: a loop that was held up until the end of the load misses them.
        """
        self._timer.close()
        now_ns = monotonic_ns()
        if self._start_ns:
            self._record(now_ns)
        wall_s = (now_ns - self._start_ns) / 1e9
        if not self._start_ns or wall_s <= 0:
            return None
        return (time.process_time() - self._cpu_s) / wall_s
