"""The open loop: each request is sent at its scheduled time, independent of the server's answers."""

from __future__ import annotations

from array import array
from typing import final

import numpy as np

from benchhydra.loadgen.pacing import Pacing, Seconds, split_limit
from benchhydra.records import NEVER

#: Rows that ``upcoming`` returns at most: recordings have many requests at the same time.
UPCOMING = 4


@final
class Schedule(Pacing):
    """Absolute send times: one late request does not delay later ones.

    With ``max_in_flight``, a request that is due waits until fewer are in flight. Its scheduled time stays the same, so
    the latencies from the scheduled time include the wait, but the wait does not count as the client's own lateness.
    """

    open_loop = True
    divisible = True

    def __init__(self, send_times_s: Seconds, max_in_flight: int | None = None) -> None:
        super().__init__(send_times_s, max_in_flight)
        self._scheduled_ns = array("q")
        self._limit = len(send_times_s) if max_in_flight is None else max_in_flight
        self._due = self._next = 0  # rows before _due are due, those before _next have been released
        self._in_flight = 0
        self._room_ns = 0  # when the rows released last could be sent, if they had to wait for max_in_flight

    def start(self, start_ns: int) -> None:
        self._scheduled_ns = array("q", ((self.send_times_s * 1e9).astype(np.int64) + start_ns).tobytes())
        self.wake_ns = self._scheduled_ns[0] if self._scheduled_ns else NEVER

    def next(self, now_ns: int, finished: int = NEVER) -> range:
        if finished == NEVER:
            self._room_ns = 0
            self._update_due(now_ns)
        else:  # rows that became due meanwhile are sent by the timer, so that their lateness counts as the client's
            self._in_flight -= 1
            self._room_ns = now_ns
        first = self._next
        if first < self._due:
            self._next = min(self._due, first + self._limit - self._in_flight)
            self._in_flight += self._next - first
        return range(first, self._next)

    def scheduled_ns(self, row: int) -> int:
        return self._scheduled_ns[row]

    def ready_ns(self, row: int) -> int:
        return max(self._scheduled_ns[row], self._room_ns)

    def upcoming(self) -> range:
        return range(self._next, min(self._next + UPCOMING, len(self._scheduled_ns)))

    def split(self, parts: int) -> list[Pacing]:
        limits = split_limit(self.max_in_flight, parts)
        return [Schedule(self.send_times_s[part :: len(limits)], limit) for part, limit in enumerate(limits)]

    def _update_due(self, now_ns: int) -> None:
        scheduled_ns, count = self._scheduled_ns, len(self._scheduled_ns)
        due = self._due
        while due < count and scheduled_ns[due] <= now_ns:
            due += 1
        self._due = due
        self.wake_ns = scheduled_ns[due] if due < count else NEVER
