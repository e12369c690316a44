"""A schedule that is planned while the load runs, from the ends of requests."""

from __future__ import annotations

import heapq
from array import array

from benchhydra.loadgen.pacing import Pacing, Seconds
from benchhydra.records import NEVER


class DynamicSchedule(Pacing):
    """Base of pacings in which a request waits for another one's answer. It runs in one client process.

    A subclass plans independent rows in ``plan_first``, and in ``plan_after`` those that depend on the row that has
    ended; each row once. With ``max_in_flight``, rows that are due wait until fewer requests are in flight.
    """

    def __init__(self, send_times_s: Seconds, max_in_flight: int | None = None) -> None:
        super().__init__(send_times_s, max_in_flight)
        self._limit = len(send_times_s) if max_in_flight is None else max_in_flight
        self._planned: list[tuple[int, int]] = []  # (time, row), a heap
        self._scheduled_ns, self._planned_ns = (array("q", [NEVER]) * len(send_times_s) for _ in range(2))  # by row
        self._in_flight = 0
        self._room_ns = 0  # when the rows released last could be sent, if they had to wait for max_in_flight

    def plan_first(self, start_ns: int) -> None:
        """Plan the rows that do not depend on an answer."""
        raise NotImplementedError

    def plan_after(self, row: int, ended_ns: int) -> None:
        """Plan the rows that depend on ``row``, which has ended, and may have failed."""
        raise NotImplementedError

    def plan(self, row: int, at_ns: int, scheduled_ns: int | None = None) -> None:
        """Send a row at ``at_ns``, or later if ``max_in_flight`` requests are in flight then.

        scheduled_ns: its scheduled time, if it was to be sent earlier but had to wait; by default ``at_ns``.
        """
        self._planned_ns[row] = at_ns
        self._scheduled_ns[row] = at_ns if scheduled_ns is None else scheduled_ns
        heapq.heappush(self._planned, (at_ns, row))

    def start(self, start_ns: int) -> None:
        self.plan_first(start_ns)
        self.wake_ns = self._planned[0][0] if self._planned else NEVER

    def next(self, now_ns: int, finished: int = NEVER) -> list[int]:
        was_full = self._in_flight >= self._limit
        self._room_ns = now_ns if was_full else 0
        if finished != NEVER:
            self._in_flight -= 1
            self.plan_after(finished, now_ns)
        rows = []
        planned = self._planned
        while planned and planned[0][0] <= now_ns and self._in_flight < self._limit:
            rows.append(heapq.heappop(planned)[1])
            self._in_flight += 1
        self.wake_ns = planned[0][0] if planned and self._in_flight < self._limit else NEVER
        return rows

    def upcoming(self) -> tuple[int, ...]:
        return (self._planned[0][1],) if self._planned else ()

    def scheduled_ns(self, row: int) -> int:
        return self._scheduled_ns[row]

    def ready_ns(self, row: int) -> int:
        return max(self._planned_ns[row], self._room_ns)
