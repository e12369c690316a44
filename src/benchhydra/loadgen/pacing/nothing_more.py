"""The pacing of a load that is ended early: nothing more is sent."""

from __future__ import annotations

from typing import final

from benchhydra.loadgen.pacing import Pacing
from benchhydra.records import NEVER


@final
class NothingMore(Pacing):
    """Takes over from a pacing, whose remaining ``unsent`` rows are never released."""

    def __init__(self, before: Pacing, unsent: int) -> None:
        super().__init__(before.send_times_s, before.max_in_flight)
        self._before = before
        self.skipped = unsent

    def start(self, start_ns: int) -> None:
        self.wake_ns = NEVER

    def next(self, now_ns: int, finished: int = NEVER) -> tuple[int, ...]:
        return ()

    def scheduled_ns(self, row: int) -> int:
        return self._before.scheduled_ns(row)
