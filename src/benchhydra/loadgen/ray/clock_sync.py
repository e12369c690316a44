"""Offsets of other machines' clocks, with their uncertainty, and times translated into our clock. Pure functions.

CLOCK_MONOTONIC counts from each machine's own start. A round trip asks a node for its time, which was read between
sending the question and receiving the answer: half the trip bounds the error, however long each way took (RFC 5905,
section 8).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchhydra.records import NEVER, TIMES, Int64, Records


class RoundTrip(NamedTuple):
    """A question for the time: sent and received on our clock, answered with the remote clock's time, all in ns."""

    sent_ns: int
    remote_ns: int
    received_ns: int


class OffsetEstimate(NamedTuple):
    """Our clock minus the remote one, at a time of the remote one; the truth is within the uncertainty on each side."""

    offset_ns: int
    uncertainty_ns: int
    at_ns: int


def estimate_offset(trips: Sequence[RoundTrip]) -> OffsetEstimate:
    """The estimate of the shortest trip, which is the most certain. Raises ValueError without any."""
    best = min(trips, key=lambda trip: trip.received_ns - trip.sent_ns)
    middle_ns = (best.sent_ns + best.received_ns) // 2
    half_ns = (best.received_ns - best.sent_ns + 1) // 2
    return OffsetEstimate(middle_ns - best.remote_ns, half_ns, best.remote_ns)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeClock:
    """A node's clock around a load. ``after`` is None where the node was gone by then: its drift is unknown."""

    host: str
    before: OffsetEstimate
    after: OffsetEstimate | None

    @property
    def uncertainty_ms(self) -> float:
        """Of the worse of the two estimates."""
        return max(self.before.uncertainty_ns, self.after.uncertainty_ns if self.after else 0) / 1e6

    @property
    def drift_ppm(self) -> float | None:
        """How much slower the remote clock is than ours, in parts per million; None where it is unknown."""
        if self.after is None or self.after.at_ns <= self.before.at_ns:
            return None
        return (self.after.offset_ns - self.before.offset_ns) / (self.after.at_ns - self.before.at_ns) * 1e6

    def offsets_ns(self, times_ns: Int64) -> Int64:
        """Our clock minus the remote one at remote times, shape (n,): linear between the two estimates."""
        drifted = (times_ns - self.before.at_ns) * ((self.drift_ppm or 0.0) / 1e6)
        return np.asarray(np.rint(drifted).astype(np.int64) + self.before.offset_ns)

    def facts(self) -> dict[str, Any]:
        """What the result keeps of it: drift in parts per million, null where it is unknown."""
        return {
            "host": self.host,
            "offset_ms": self.before.offset_ns / 1e6,
            "uncertainty_ms": self.uncertainty_ms,
            "drift_ppm": self.drift_ppm,
        }

    def translated(self, records: Records) -> Records:
        """Rows with remote times, in our clock: one offset a row, so that latencies stay as they were measured."""
        offsets_ns = self.offsets_ns(records.scheduled_ns)
        columns: dict[str, Any] = {}
        for name in TIMES:
            times_ns = getattr(records, name)
            columns[name] = np.where(times_ns == NEVER, NEVER, times_ns + offsets_ns)
        return dataclasses.replace(records, **columns)
