"""Keeps the event loop from sleeping where it would be woken at once: being woken takes longer than a packet does."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from time import monotonic_ns
from typing import Protocol

from benchhydra.records import NEVER

#: Shares of a core in use between which the loop stays awake: below, it is woken rarely; above, it hardly sleeps.
LEAST, MOST = 0.4, 0.9
#: Staying awake makes the same work cheaper: it ends only well below where it began.
LEAST_AWAKE = 0.15
#: A core that others want for more than this share of a beat is left to them for so long, and twice as long next time.
WAITED = 0.1
REST_NS = 1_000_000_000


class LoopWorker(Protocol):
    """Who works in the loop."""

    worked: bool  # set with all that it does


class CoreUsage:
    """What this thread has used, and waited for, of its core."""

    def __init__(self) -> None:
        try:
            path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
            self._schedule = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._schedule = NEVER

    def spent_ns(self) -> int:
        """CPU time."""
        return time.thread_time_ns()

    def waited_ns(self) -> int:
        """How long it was runnable while another one ran; 0 where the kernel does not say."""
        return 0 if self._schedule == NEVER else int(os.pread(self._schedule, 100, 0).split()[1])

    def close(self) -> None:
        """Nothing is read after this."""
        if self._schedule != NEVER:
            os.close(self._schedule)
            self._schedule = NEVER


class BusyPoller:
    """Decides at every beat. Turns of the loop in which nothing was done are idle time, not part of what is in use."""

    def __init__(self, loop: asyncio.AbstractEventLoop, worker: LoopWorker, usage: CoreUsage | None = None) -> None:
        self.on = False
        self.idle_ns = 0  # of all idle turns
        self.awake_ns = 0  # while it was on
        self._loop = loop
        self._worker = worker
        self._usage = usage or CoreUsage()
        self._rest_ns = REST_NS
        self._beat_ns = self._spent_ns = self._waited_ns = self._turned_ns = self._rest_until_ns = 0

    def start(self, now_ns: int) -> None:
        """What is used is looked at from here on."""
        self._beat_ns, self._spent_ns, self._waited_ns = now_ns, self._spent(), self._usage.waited_ns()

    def beat(self, now_ns: int) -> None:
        """Look at what was used since the last beat, and stay awake, or no longer."""
        took_ns, spent_ns, waited_ns = now_ns - self._beat_ns, self._spent(), self._usage.waited_ns()
        if took_ns <= 0:
            return
        used = (spent_ns - self._spent_ns) / took_ns
        if waited_ns - self._waited_ns > WAITED * took_ns:
            self._rest_until_ns = now_ns + self._rest_ns
            self._rest_ns *= 2 if self.on else 1
        if self.on:
            self.awake_ns += took_ns
        least = LEAST_AWAKE if self.on else LEAST
        self._switch(least < used < MOST and now_ns >= self._rest_until_ns, now_ns)
        self._beat_ns, self._spent_ns, self._waited_ns = now_ns, spent_ns, waited_ns

    def stop(self) -> None:
        """The loop may sleep, for good."""
        self.on = False
        self._usage.close()

    def _spent(self) -> int:
        return self._usage.spent_ns() - self.idle_ns

    def _switch(self, on: bool, now_ns: int) -> None:
        begins, self.on = on and not self.on, on
        if begins:
            self._turned_ns = now_ns
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """One turn of the loop: as another one is asked for, it looks for packets without waiting for them."""
        if not self.on:
            return
        self._loop.call_soon(self._turn)
        now_ns = monotonic_ns()
        if not self._worker.worked:
            self.idle_ns += now_ns - self._turned_ns
        self._worker.worked = False
        self._turned_ns = now_ns
