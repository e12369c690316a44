"""Clock offsets of other machines with their uncertainty, and translation of times into this machine's clock.

CLOCK_MONOTONIC starts at each machine's boot. A round trip asks a node for its time, which the node reads between our
sending and receiving: so the error is at most half the round trip, however long each way took (RFC 5905, section 8).
All functions are pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchhydra.records import NEVER, TIMES, Int64, Records


class RoundTrip(NamedTuple):
    """A request for a node's time: sent_ns and received_ns are on our clock, remote_ns on the node's."""

    sent_ns: int
    remote_ns: int
    received_ns: int


class OffsetEstimate(NamedTuple):
    """Our clock minus the remote one, +- uncertainty_ns, at the time at_ns of the remote clock."""

    offset_ns: int
    uncertainty_ns: int
    at_ns: int


def estimate_offset(trips: Sequence[RoundTrip]) -> OffsetEstimate:
    """Return the estimate of the shortest trip, which has the smallest uncertainty. Raises ValueError without trips."""
    best = min(trips, key=lambda trip: trip.received_ns - trip.sent_ns)
    middle_ns = (best.sent_ns + best.received_ns) // 2
    half_ns = (best.received_ns - best.sent_ns + 1) // 2
    return OffsetEstimate(middle_ns - best.remote_ns, half_ns, best.remote_ns)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeClock:
    """A node's clock offset before and after a load. ``after`` is None if the node was lost: its drift is unknown."""

    host: str
    before: OffsetEstimate
    after: OffsetEstimate | None

    @property
    def uncertainty_ms(self) -> float:
        """The larger uncertainty of the two estimates."""
        return max(self.before.uncertainty_ns, self.after.uncertainty_ns if self.after else 0) / 1e6

    @property
    def drift_ppm(self) -> float | None:
        """How much slower the remote clock runs than ours, in parts per million; None if unknown."""
        if self.after is None or self.after.at_ns <= self.before.at_ns:
            return None
        return (self.after.offset_ns - self.before.offset_ns) / (self.after.at_ns - self.before.at_ns) * 1e6

    def offsets_ns(self, times_ns: Int64) -> Int64:
        """Return our clock minus the remote one at remote times, shape (n,), by linear interpolation."""
        drifted = (times_ns - self.before.at_ns) * ((self.drift_ppm or 0.0) / 1e6)
        return np.asarray(np.rint(drifted).astype(np.int64) + self.before.offset_ns)

    def facts(self) -> dict[str, Any]:
        """Return the clock's entry in the result's metadata."""
        return {
            "host": self.host,
            "offset_ms": self.before.offset_ns / 1e6,
            "uncertainty_ms": self.uncertainty_ms,
            "drift_ppm": self.drift_ppm,
        }

    def translated(self, records: Records) -> Records:
        """Return rows with their times translated to our clock; one offset per row keeps its latencies unchanged."""
        offsets_ns = self.offsets_ns(records.scheduled_ns)
        columns: dict[str, Any] = {}
        for name in TIMES:
            times_ns = getattr(records, name)
            columns[name] = np.where(times_ns == NEVER, NEVER, times_ns + offsets_ns)
        return dataclasses.replace(records, **columns)
