"""Batches: send a number of requests at once, and the next batch when all of these have ended."""

from __future__ import annotations

from typing import final

import numpy as np

from benchhydra.loadgen.pacing import Pacing
from benchhydra.records import NEVER


@final
class Batches(Pacing):
    """``count`` requests in batches of ``size``; the last batch may be smaller.

    All rows of a batch are scheduled for the same time, the end of the previous batch.
    """

    def __init__(self, count: int, size: int) -> None:
        super().__init__(np.zeros(count))
        self._count, self._size = count, size
        self._released = self._under_way = 0
        self._released_ns = 0

    def start(self, start_ns: int) -> None:
        self._released_ns = start_ns
        self.wake_ns = start_ns

    def next(self, now_ns: int, finished: int = NEVER) -> range:
        first, self.wake_ns = self._released, NEVER
        if finished != NEVER:
            self._under_way -= 1
            self._released_ns = now_ns
        if self._under_way == 0:
            self._released = min(self._count, first + self._size)
            self._under_way = self._released - first
        return range(first, self._released)

    def scheduled_ns(self, row: int) -> int:
        return self._released_ns
