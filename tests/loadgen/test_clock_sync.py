"""Clocks of other machines, simulated: the truth is known, and must lie inside what is claimed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra.loadgen.ray.clock_sync import NodeClock, OffsetEstimate, RoundTrip, estimate_offset
from benchhydra.records import NEVER, TIMES, Records

DAY_NS = 86_400 * 10**9
delays_ns = st.integers(0, 50_000_000)
clocks_ns = st.integers(-1000 * DAY_NS, 1000 * DAY_NS)


def trips(offset_ns: int, began_ns: int, delays: Sequence[tuple[int, int]]) -> list[RoundTrip]:
    """Trips one after another, with the times of both ways; offset_ns is our clock less theirs."""
    made, now_ns = [], began_ns
    for there_ns, back_ns in delays:
        made.append(RoundTrip(now_ns, now_ns + there_ns - offset_ns, now_ns + there_ns + back_ns))
        now_ns = made[-1].received_ns
    return made


@given(clocks_ns, st.integers(0, 1000 * DAY_NS), st.lists(st.tuples(delays_ns, delays_ns), min_size=1))
def test_the_true_offset_is_within_the_uncertainty(
    offset_ns: int, began_ns: int, delays: list[tuple[int, int]]
) -> None:
    found = estimate_offset(trips(offset_ns, began_ns, delays))
    assert abs(found.offset_ns - offset_ns) <= found.uncertainty_ns
    assert found.uncertainty_ns == (min(a + b for a, b in delays) + 1) // 2


@given(clocks_ns, st.lists(delays_ns, min_size=1))
def test_equal_delays_both_ways_give_the_exact_offset(offset_ns: int, delays: list[int]) -> None:
    assert estimate_offset(trips(offset_ns, 10**9, [(delay, delay) for delay in delays])).offset_ns == offset_ns


def test_an_estimate_needs_a_round_trip() -> None:
    with pytest.raises(ValueError, match="empty"):
        estimate_offset([])


def clock(offset_ns: int, drift_ppm: float, window_ns: int) -> NodeClock:
    """A clock that was seen exactly at 0 and after a window of its own."""
    after = OffsetEstimate(offset_ns + round(window_ns * drift_ppm / 1e6), 200, window_ns)
    return NodeClock(host="h", before=OffsetEstimate(offset_ns, 300, 0), after=after)


@given(clocks_ns, st.floats(-200, 200), st.integers(10**9, DAY_NS), st.floats(0, 1))
def test_a_drifting_clock_is_followed(offset_ns: int, drift_ppm: float, window_ns: int, part: float) -> None:
    at_ns = np.array([round(window_ns * part)], np.int64)
    true_ns = offset_ns + at_ns[0] * drift_ppm / 1e6
    assert abs(int(clock(offset_ns, drift_ppm, window_ns).offsets_ns(at_ns)[0]) - true_ns) <= 32


def test_a_clock_reports_its_uncertainty() -> None:
    known = clock(5_000_000, 50.0, 10**10)
    assert known.facts() == {"host": "h", "offset_ms": 5.0, "uncertainty_ms": 0.0003, "drift_ppm": pytest.approx(50)}
    gone = NodeClock(host="h", before=known.before, after=None)
    assert gone.facts()["drift_ppm"] is None
    assert gone.offsets_ns(np.array([10**12]))[0] == 5_000_000


def test_all_times_of_a_row_get_one_offset_and_never_stays_never() -> None:
    theirs = Records.of_spans([10**9, 5 * 10**9], [3 * 10**9, 9 * 10**9])
    ours = clock(7 * 10**9, 100.0, 10**10).translated(theirs)
    assert ours.sent_ns.tolist() == [8 * 10**9 + 100_000, 12 * 10**9 + 500_000]
    assert (ours.done_ns - ours.sent_ns).tolist() == [2 * 10**9, 4 * 10**9]
    assert ours.first_ns.tolist() == [NEVER, NEVER]
    assert all(getattr(ours, name).dtype == np.int64 for name in TIMES)
