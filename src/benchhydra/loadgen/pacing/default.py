"""Which pacing a load has that brings none of its own."""

from __future__ import annotations

from benchhydra.loadgen.pacing import Pacing, Seconds
from benchhydra.loadgen.pacing.closed_loop import ClosedLoop
from benchhydra.loadgen.pacing.schedule import Schedule


def default_pacing(send_times_s: Seconds, max_in_flight: int | None) -> Pacing:
    """A closed loop where all requests may be sent at once and a limit holds them back, else a schedule."""
    if max_in_flight is not None and len(send_times_s) and send_times_s[-1] <= send_times_s[0]:
        return ClosedLoop(send_times_s, max_in_flight)
    return Schedule(send_times_s, max_in_flight)
