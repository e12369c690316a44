"""When to repeat a reading that takes long, so that watching stays cheap."""

from __future__ import annotations

import time
from collections.abc import Callable

#: A reading is repeated at most once in this many times the CPU time that it took: 0.2 % of a core.
RATIO = 500


class SlowReading:
    """Decides when a reading is due again: after ``least_s``, or later if it took long."""

    def __init__(self, least_s: float) -> None:
        self._least_s = least_s
        self._next_s = 0.0

    def due(self) -> bool:
        """Return whether it is time for the next one; the first is due at once."""
        return time.monotonic() >= self._next_s

    def run(self, read: Callable[[], None]) -> None:
        """Call ``read``, and set the next time by how long it took."""
        begin_s = time.thread_time()
        read()
        took_s = time.thread_time() - begin_s
        self._next_s = time.monotonic() + max(self._least_s, RATIO * took_s)
