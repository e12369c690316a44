"""The pacing of a load shape that does not define its own."""

from __future__ import annotations

from benchhydra.loadgen.pacing import Pacing, Seconds
from benchhydra.loadgen.pacing.closed_loop import ClosedLoop
from benchhydra.loadgen.pacing.schedule import Schedule


def default_pacing(send_times_s: Seconds, max_in_flight: int | None) -> Pacing:
    """Return a closed loop if all send times are equal and ``max_in_flight`` is set, else a schedule."""
    if max_in_flight is not None and len(send_times_s) and send_times_s[-1] <= send_times_s[0]:
        return ClosedLoop(send_times_s, max_in_flight)
    return Schedule(send_times_s, max_in_flight)
