"""The closed loop: a fixed number of requests in flight; each answer immediately releases the next request."""

from __future__ import annotations

from typing import final

from benchhydra.loadgen.pacing import Pacing, Seconds, split_limit
from benchhydra.records import NEVER


@final
class ClosedLoop(Pacing):
    """``max_in_flight`` requests in flight at all times. A request is scheduled at the end of the one it replaces."""

    divisible = True

    def __init__(self, send_times_s: Seconds, max_in_flight: int) -> None:
        super().__init__(send_times_s, max_in_flight)
        self._count = len(send_times_s)
        self._limit = max_in_flight
        self._next = 0
        self._room_ns = 0  # when the rows released last could be sent

    def start(self, start_ns: int) -> None:
        self._room_ns = start_ns + int(self.send_times_s[0] * 1e9) if self._count else start_ns
        self.wake_ns = self._room_ns

    def next(self, now_ns: int, finished: int = NEVER) -> range:
        first = self._next
        if finished == NEVER:
            self.wake_ns = NEVER
            self._next = max(first, min(self._count, self._limit))  # the first rows; none at later wake-ups
        else:
            self._room_ns = now_ns
            self._next = min(self._count, first + 1)
        return range(first, self._next)

    def scheduled_ns(self, row: int) -> int:
        return self._room_ns

    def ready_ns(self, row: int) -> int:
        return self._room_ns

    def split(self, parts: int) -> list[Pacing]:
        limits = split_limit(self._limit, parts)
        return [
            ClosedLoop(self.send_times_s[part :: len(limits)], limit)
            for part, limit in enumerate(limits)
            if limit is not None
        ]
