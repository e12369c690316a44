"""Clocks of other machines: where they are, how sure that is, and their times as ours. Pure functions.

CLOCK_MONOTONIC counts from each machine's own start. A trip asks a node for its time, and knows that the answer was
given between asking and hearing: half the trip bounds the error, whatever the two ways took (RFC 5905, section 8).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchhydra.records import NEVER, TIMES, Int64, Records


class RoundTrip(NamedTuple):
    """A question for the time: asked and heard on our clock, said on theirs, all in ns."""

    asked_ns: int
    said_ns: int
    heard_ns: int


class OffsetEstimate(NamedTuple):
    """Our clock less theirs, at a moment of theirs; the truth is within the uncertainty on either side."""

    offset_ns: int
    uncertainty_ns: int
    at_ns: int


def estimate_offset(trips: Sequence[RoundTrip]) -> OffsetEstimate:
    """The estimate of the shortest trip, which is the surest. Raises ValueError without any."""
    best = min(trips, key=lambda trip: trip.heard_ns - trip.asked_ns)
    middle_ns = (best.asked_ns + best.heard_ns) // 2
    half_ns = (best.heard_ns - best.asked_ns + 1) // 2
    return OffsetEstimate(middle_ns - best.said_ns, half_ns, best.said_ns)


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
        """By how much their clock is slower than ours, parts in a million."""
        if self.after is None or self.after.at_ns <= self.before.at_ns:
            return None
        return (self.after.offset_ns - self.before.offset_ns) / (self.after.at_ns - self.before.at_ns) * 1e6

    def offsets_ns(self, times_ns: Int64) -> Int64:
        """Ours less theirs at times of theirs, shape (n,): it moves evenly from one estimate to the other."""
        drifted = (times_ns - self.before.at_ns) * ((self.drift_ppm or 0.0) / 1e6)
        return np.asarray(np.rint(drifted).astype(np.int64) + self.before.offset_ns)

    def facts(self) -> dict[str, Any]:
        """What the result keeps of it: drift in parts in a million, null where it is unknown."""
        return {
            "host": self.host,
            "offset_ms": self.before.offset_ns / 1e6,
            "uncertainty_ms": self.uncertainty_ms,
            "drift_ppm": self.drift_ppm,
        }

    def translated(self, records: Records) -> Records:
        """Rows whose times were taken there, with times of ours: one offset a row, so that latencies stay as taken."""
        offsets_ns = self.offsets_ns(records.scheduled_ns)
        ours: dict[str, Any] = {}
        for name in TIMES:
            theirs = getattr(records, name)
            ours[name] = np.where(theirs == NEVER, NEVER, theirs + offsets_ns)
        return dataclasses.replace(records, **ours)
