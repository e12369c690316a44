"""Pacings are pure: a simulated clock and server are enough to test them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra.errors import ConfigError
from benchhydra.loadgen.pacing import Pacing, split_limit
from benchhydra.loadgen.pacing.closed_loop import ClosedLoop
from benchhydra.loadgen.pacing.default import default_pacing
from benchhydra.loadgen.pacing.dynamic_schedule import DynamicSchedule
from benchhydra.loadgen.pacing.schedule import Schedule
from benchhydra.records import NEVER, Status

START_NS = 10**12
MS = 10**6


class Simulation:
    """Runs a pacing against a server of given service times; a late client is ``late_ns`` behind every wake-up.

    statuses: how rows end, by row; by default all are completed.
    """

    def __init__(
        self,
        pacing: Pacing,
        service_ns: Callable[[int], int],
        late_ns: int = 0,
        statuses: Sequence[int] | None = None,
    ) -> None:
        pacing.statuses = [Status.OK] * len(pacing.send_times_s) if statuses is None else statuses
        self.sent: list[int] = []
        self.sent_ns: dict[int, int] = {}
        self.scheduled_ns: dict[int, int] = {}
        self.ready_ns: dict[int, int] = {}
        self.most_in_flight = 0
        self._pacing = pacing
        self._service_ns = service_ns
        self._ends: list[tuple[int, int]] = []  # (time, row)
        pacing.start(START_NS)
        while self._ends or pacing.wake_ns != NEVER:
            end_ns = self._ends[0][0] if self._ends else None
            if pacing.wake_ns != NEVER and (end_ns is None or pacing.wake_ns + late_ns <= end_ns):
                now_ns = pacing.wake_ns + late_ns
                self._send(pacing.next(now_ns), now_ns)
            else:
                now_ns, row = heapq.heappop(self._ends)
                self._send(pacing.next(now_ns, row), now_ns)

    def _send(self, rows: object, now_ns: int) -> None:
        assert isinstance(rows, (range, list, tuple))
        for row in rows:
            self.sent.append(row)
            self.sent_ns[row] = now_ns
            self.scheduled_ns[row] = self._pacing.scheduled_ns(row)
            self.ready_ns[row] = self._pacing.ready_ns(row)
            heapq.heappush(self._ends, (now_ns + self._service_ns(row), row))
        self.most_in_flight = max(self.most_in_flight, len(self._ends))

    @property
    def lags_ns(self) -> list[int]:
        return [self.sent_ns[row] - self.ready_ns[row] for row in self.sent]


services = st.lists(st.integers(0, 50 * MS), min_size=1, max_size=30)
gaps = st.lists(st.integers(0, 20 * MS), min_size=1, max_size=30)


@given(gaps, services, st.integers(1, 5) | st.none(), st.integers(0, 3 * MS))
def test_a_schedule_sends_each_row_once_in_order_and_keeps_its_times(
    gaps_ns: list[int], service_ns: list[int], limit: int | None, late_ns: int
) -> None:
    send_times_s = np.cumsum(gaps_ns) / 1e9
    run = Simulation(Schedule(send_times_s, limit), lambda row: service_ns[row % len(service_ns)], late_ns)
    assert run.sent == list(range(len(gaps_ns)))
    assert run.most_in_flight <= (limit or len(gaps_ns))
    planned_ns = (send_times_s * 1e9).astype(np.int64) + START_NS
    assert [run.scheduled_ns[row] for row in run.sent] == planned_ns.tolist()
    assert all(0 <= lag_ns <= late_ns for lag_ns in run.lags_ns)  # waiting for room is not the client's lateness


def test_a_schedule_without_a_limit_does_not_look_at_answers() -> None:
    for service in (lambda row: 0, lambda row: 10**9):
        run = Simulation(Schedule(np.linspace(0.0, 0.02, 20)), service)
        assert run.sent_ns == run.scheduled_ns


def test_a_row_that_is_already_late_waits_for_the_timer_so_that_its_lateness_is_recorded() -> None:
    pacing = Schedule(np.array([0.0, 0.001]))
    pacing.start(START_NS)
    assert list(pacing.next(START_NS)) == [0]
    late_ns = START_NS + 5 * MS
    assert list(pacing.next(late_ns, finished=0)) == []
    assert list(pacing.next(late_ns)) == [1]
    assert pacing.ready_ns(1) == START_NS + 1 * MS


def test_a_row_that_waited_for_room_was_ready_when_there_was_room() -> None:
    pacing = Schedule(np.array([0.0, 0.001]), max_in_flight=1)
    pacing.start(START_NS)
    assert list(pacing.next(START_NS)) == [0]
    assert list(pacing.next(START_NS + 1 * MS)) == []
    assert pacing.wake_ns == NEVER
    assert list(pacing.next(START_NS + 7 * MS, finished=0)) == [1]
    assert (pacing.scheduled_ns(1), pacing.ready_ns(1)) == (START_NS + 1 * MS, START_NS + 7 * MS)


@given(st.integers(1, 40), st.integers(1, 8), services)
def test_a_closed_loop_is_always_full_and_never_late(count: int, limit: int, service_ns: list[int]) -> None:
    run = Simulation(ClosedLoop(np.zeros(count), limit), lambda row: service_ns[row % len(service_ns)])
    assert run.sent == list(range(count))
    assert run.most_in_flight <= limit
    assert run.scheduled_ns == run.ready_ns == run.sent_ns
    assert [run.sent_ns[row] for row in range(min(count, limit))] == [START_NS] * min(count, limit)


class Chain(DynamicSchedule):
    """Each row 3 ms after the end of the one ``width`` before it."""

    width = 1

    def plan_first(self, start_ns: int) -> None:
        for row in range(min(self.width, len(self.send_times_s))):
            self.plan(row, start_ns)

    def plan_after(self, row: int, ended_ns: int) -> None:
        if row + self.width < len(self.send_times_s):
            self.plan(row + self.width, ended_ns + 3 * MS)


def test_rows_are_planned_while_the_load_runs() -> None:
    run = Simulation(Chain(np.zeros(5)), lambda row: 2 * MS)
    assert [run.sent_ns[row] - START_NS for row in run.sent] == [0, 5 * MS, 10 * MS, 15 * MS, 20 * MS]
    assert run.scheduled_ns == run.sent_ns


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 6) | st.none(), services, st.integers(0, 2 * MS))
def test_a_dynamic_schedule_sends_each_row_once_within_its_limit(
    count: int, width: int, limit: int | None, service_ns: list[int], late_ns: int
) -> None:
    pacing = Chain(np.zeros(count), limit)
    pacing.width = width
    run = Simulation(pacing, lambda row: service_ns[row % len(service_ns)], late_ns)
    assert sorted(run.sent) == list(range(count))
    assert run.most_in_flight <= min(width, limit or width)
    assert all(0 <= lag_ns <= late_ns for lag_ns in run.lags_ns)


@pytest.mark.parametrize(
    ("send_times_s", "limit", "expected"),
    [
        ([0.0, 0.0, 0.0], 2, ClosedLoop),
        ([0.0, 0.0, 0.0], None, Schedule),
        ([0.0, 0.1, 0.2], 2, Schedule),
        ([0.0], 1, ClosedLoop),
        ([], 1, Schedule),
    ],
)
def test_the_default_pacing_is_a_schedule_or_a_closed_loop(
    send_times_s: list[float], limit: int | None, expected: type[Pacing]
) -> None:
    assert type(default_pacing(np.array(send_times_s), limit)) is expected


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 10) | st.none(), st.booleans())
def test_parts_send_every_nth_row_and_share_the_limit(
    count: int, parts: int, limit: int | None, closed_loop: bool
) -> None:
    send_times_s = np.linspace(0.0, 1.0, count)
    pacing = ClosedLoop(send_times_s, limit or 4) if closed_loop else Schedule(send_times_s, limit)
    shards = pacing.split(parts)
    assert all(type(shard) is type(pacing) for shard in shards)
    for part, shard in enumerate(shards):
        assert shard.send_times_s.tolist() == send_times_s[part :: len(shards)].tolist()
    limits = [shard.max_in_flight for shard in shards]
    if pacing.max_in_flight is None:
        assert limits == [None] * parts
    else:
        known = [limit for limit in limits if limit is not None]
        assert len(known) == len(limits) and sum(known) == pacing.max_in_flight
        assert min(known) >= 1 and max(known) - min(known) <= 1


def test_limits_are_split_evenly() -> None:
    assert split_limit(7, 3) == [3, 2, 2]
    assert split_limit(2, 3) == [1, 1]
    assert split_limit(None, 2) == [None, None]


def test_a_pacing_of_ones_own_is_not_split() -> None:
    pacing = Chain(np.zeros(4))
    assert pacing.split(1) == [pacing]
    with pytest.raises(ConfigError, match="Chain paces a load in one client process, not in 2"):
        pacing.split(2)
