"""Busy polling under load: the event loop does not sleep, because a wake-up costs more than handling a packet."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from time import monotonic_ns
from typing import Protocol

from benchhydra.records import NEVER

#: Poll while CPU use is between these fractions of a core: below, wake-ups are rare; above, the loop rarely sleeps.
START_ABOVE, STOP_ABOVE = 0.4, 0.9
#: Hysteresis: polling lowers the CPU use of the same work, so stop only well below the start threshold.
STOP_BELOW = 0.15
#: Back off (doubling) when another process waited for this core for more than this fraction of a beat.
MAX_WAIT_FRACTION = 0.1
BACK_OFF_NS = 1_000_000_000


class LoopWorker(Protocol):
    """The code that runs in the loop."""

    worked: bool  # set whenever it has done something


class CoreUsage:
    """CPU time of this thread, and how long it waited for a core."""

    def __init__(self) -> None:
        try:
            path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
            self._schedstat = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._schedstat = NEVER

    def spent_ns(self) -> int:
        """Return the thread's CPU time in ns."""
        return time.thread_time_ns()

    def waited_ns(self) -> int:
        """Return the time in ns that the thread was runnable but not running; 0 without /proc/.../schedstat."""
        return 0 if self._schedstat == NEVER else int(os.pread(self._schedstat, 100, 0).split()[1])

    def close(self) -> None:
        """Close the file; call no other method afterwards."""
        if self._schedstat != NEVER:
            os.close(self._schedstat)
            self._schedstat = NEVER


class BusyPoller:
    """Switches polling on or off at every beat. Loop iterations without work count as idle, not as CPU use."""

    def __init__(self, loop: asyncio.AbstractEventLoop, worker: LoopWorker, usage: CoreUsage | None = None) -> None:
        self.on = False
        self.idle_ns = 0  # total time of idle iterations
        self.on_ns = 0  # total time with polling on
        self._loop = loop
        self._worker = worker
        self._usage = usage or CoreUsage()
        self._back_off_ns = BACK_OFF_NS
        self._beat_ns = self._spent_ns = self._waited_ns = self._turn_ns = self._off_until_ns = 0

    def start(self, now_ns: int) -> None:
        """Start measuring CPU use."""
        self._beat_ns, self._spent_ns, self._waited_ns = now_ns, self._spent(), self._usage.waited_ns()

    def beat(self, now_ns: int) -> None:
        """Switch polling on or off, by the CPU use since the last beat."""
        took_ns, spent_ns, waited_ns = now_ns - self._beat_ns, self._spent(), self._usage.waited_ns()
        if took_ns <= 0:
            return
        used_fraction = (spent_ns - self._spent_ns) / took_ns
        if waited_ns - self._waited_ns > MAX_WAIT_FRACTION * took_ns:
            self._off_until_ns = now_ns + self._back_off_ns
            self._back_off_ns *= 2 if self.on else 1
        if self.on:
            self.on_ns += took_ns
        lowest = STOP_BELOW if self.on else START_ABOVE
        self._switch(lowest < used_fraction < STOP_ABOVE and now_ns >= self._off_until_ns, now_ns)
        self._beat_ns, self._spent_ns, self._waited_ns = now_ns, spent_ns, waited_ns

    def stop(self) -> None:
        """Switch polling off permanently."""
        self.on = False
        self._usage.close()

    def _spent(self) -> int:
        return self._usage.spent_ns() - self.idle_ns

    def _switch(self, on: bool, now_ns: int) -> None:
        starts, self.on = on and not self.on, on
        if starts:
            self._turn_ns = now_ns
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Run once per loop iteration. Because it schedules itself again, the loop polls sockets without sleeping."""
        if not self.on:
            return
        self._loop.call_soon(self._turn)
        now_ns = monotonic_ns()
        if not self._worker.worked:
            self.idle_ns += now_ns - self._turn_ns
        self._worker.worked = False
        self._turn_ns = now_ns
