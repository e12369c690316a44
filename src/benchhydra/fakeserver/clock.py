"""Waits for absolute times with a timerfd, because event loops round their timers to whole milliseconds."""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import itertools
import os
import struct
import time


class FakeClock:
    """Waits until an absolute time of CLOCK_MONOTONIC, to about 0.05 ms."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._heap: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._fire)

    async def until(self, when_ns: int) -> None:
        """Return at ``when_ns``, immediately if that has passed."""
        if when_ns <= time.monotonic_ns():
            return
        future = self._loop.create_future()
        heapq.heappush(self._heap, (when_ns, next(self._order), future))
        if self._heap[0][2] is future:
            self._arm(when_ns)
        await future

    def _arm(self, when_ns: int) -> None:
        spec = struct.pack("@qqqq", 0, 0, when_ns // 1_000_000_000, when_ns % 1_000_000_000)
        self._libc.timerfd_settime(self._fd, 1, spec, None)  # 1: TFD_TIMER_ABSTIME

    def _fire(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        now = time.monotonic_ns()
        while self._heap and (self._heap[0][0] <= now or self._heap[0][2].done()):
            future = heapq.heappop(self._heap)[2]
            if not future.done():
                future.set_result(None)
        if self._heap:
            self._arm(self._heap[0][0])
