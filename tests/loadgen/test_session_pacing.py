"""Sessions pace themselves: each turn waits for the answer before it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.loadgen.test_pacing import MS, START_NS, Simulation

from benchhydra.loadgen.pacing.sessions import SessionPacing, Turns
from benchhydra.records import Status

#: A conversation of three turns, and one of two whose second turn has two continuations.
SESSION = (0, 0, 0, 1, 1, 1, 1)
PARENT = (-1, 0, 1, -1, 3, 4, 4)
THINK_MS = (0, 5, 7, 0, 2, 3, 9)


def turns_of(session: Sequence[int], parent: Sequence[int], think_ms: Sequence[int]) -> Turns:
    return Turns(np.array(session, np.int32), np.array(parent, np.int32), np.array(think_ms, np.int64) * MS)


def run(
    turns: Turns,
    starts_ms: Sequence[int],
    service_ns: Callable[[int], int] = lambda row: 10 * MS,
    failed: Sequence[int] = (),
    sessions_in_flight: int | None = None,
    max_in_flight: int | None = None,
) -> tuple[Simulation, SessionPacing]:
    send_times_s = (np.array(starts_ms) / 1e3)[turns.session]
    pacing = SessionPacing(send_times_s, turns, max_in_flight, sessions_in_flight)
    statuses = [int(Status.RESET if row in failed else Status.OK) for row in range(len(turns))]
    return Simulation(pacing, service_ns, statuses=statuses), pacing


def sent_ms(simulation: Simulation) -> dict[int, float]:
    return {row: (ns - START_NS) / MS for row, ns in simulation.sent_ns.items()}


def test_a_turn_is_sent_after_the_answer_before_it_and_the_think_time() -> None:
    simulation, pacing = run(turns_of(SESSION, PARENT, THINK_MS), (0, 4))
    assert sent_ms(simulation) == {0: 0, 1: 15, 2: 32, 3: 4, 4: 16, 5: 29, 6: 35}
    assert simulation.scheduled_ns == simulation.ready_ns == simulation.sent_ns
    assert pacing.skipped == 0


def test_a_failed_turn_ends_its_session_and_no_other() -> None:
    simulation, pacing = run(turns_of(SESSION, PARENT, THINK_MS), (0, 4), failed=(0, 5))
    assert sorted(simulation.sent) == [0, 3, 4, 5, 6]
    assert pacing.skipped == 2
    _, pacing = run(turns_of(SESSION, PARENT, THINK_MS), (0, 4), failed=(3,))
    assert pacing.skipped == 3


def test_a_session_that_waits_keeps_its_scheduled_time() -> None:
    simulation, _ = run(turns_of((0, 0, 1), (-1, 0, -1), (0, 5, 0)), (0, 1), sessions_in_flight=1)
    assert sent_ms(simulation) == {0: 0, 1: 15, 2: 25}
    assert simulation.scheduled_ns[2] == START_NS + 1 * MS
    assert simulation.lags_ns == [0, 0, 0]


def test_sessions_that_replace_each_other_are_scheduled_for_the_end_of_the_one_before() -> None:
    simulation, _ = run(turns_of((0, 0, 1, 2), (-1, 0, -1, -1), (0, 5, 0, 0)), (0, 0, 0), sessions_in_flight=2)
    assert sent_ms(simulation) == {0: 0, 2: 0, 3: 10, 1: 15}
    assert simulation.scheduled_ns == simulation.sent_ns


def test_a_broken_session_makes_room_for_the_next_one() -> None:
    simulation, _ = run(turns_of((0, 0, 1), (-1, 0, -1), (0, 5, 0)), (0, 1), failed=(0,), sessions_in_flight=1)
    assert sent_ms(simulation) == {0: 0, 2: 10}


@st.composite
def sessions(draw: st.DrawFn) -> tuple[Turns, list[int]]:
    session, parent, think, starts = list[int](), list[int](), list[int](), list[int]()
    for number in range(draw(st.integers(1, 6))):
        first = len(session)
        for turn in range(draw(st.integers(1, 6))):
            session.append(number)
            parent.append(first + draw(st.integers(0, turn - 1)) if turn else -1)
            think.append(draw(st.integers(0, 20)))
        starts.append((starts[-1] if starts else 0) + draw(st.integers(0, 20)))
    return turns_of(session, parent, think), starts


@given(sessions(), st.integers(1, 4) | st.none(), st.integers(1, 3) | st.none(), st.sets(st.integers(0, 35)))
def test_each_turn_is_sent_once_or_skipped_within_the_limits(
    made: tuple[Turns, list[int]], sessions_in_flight: int | None, max_in_flight: int | None, failed: set[int]
) -> None:
    turns, starts = made
    simulation, pacing = run(
        turns, starts, lambda row: (row % 7) * MS, tuple(failed), sessions_in_flight, max_in_flight
    )
    assert len(simulation.sent) == len(set(simulation.sent)) == len(turns) - pacing.skipped
    assert simulation.most_in_flight <= (max_in_flight or len(turns))
    ends = {row: ns + (row % 7) * MS for row, ns in simulation.sent_ns.items()}
    for row in simulation.sent:
        parent = int(turns.parent[row])
        if parent >= 0:
            assert parent not in failed
            assert simulation.scheduled_ns[row] == ends[parent] + turns.think_ns[row]
    if not failed:
        assert pacing.skipped == 0
    under_way = [
        sum(
            simulation.sent_ns[first] <= at < max(ends[row] for row in simulation.sent if turns.session[row] == number)
            for number, first in enumerate(turns.first_rows.tolist())
        )
        for at in simulation.sent_ns.values()
    ]
    assert max(under_way) <= (sessions_in_flight or len(starts))


def test_the_next_planned_turn_is_upcoming() -> None:
    pacing = SessionPacing(np.array([0.0, 0.0, 0.004]), turns_of((0, 0, 1), (-1, 0, -1), (0, 5, 0)), None, None)
    pacing.statuses = [Status.OK] * 3
    pacing.start(START_NS)
    assert pacing.upcoming() == (0,)
    pacing.next(START_NS)
    assert pacing.upcoming() == (2,)
    pacing.next(START_NS + 1 * MS, 0)  # its next turn is due 6 ms after the start
    assert pacing.upcoming() == (2,)
    pacing.next(START_NS + 5 * MS)
    assert pacing.upcoming() == (1,)
    pacing.next(START_NS + 6 * MS)
    assert pacing.upcoming() == ()
