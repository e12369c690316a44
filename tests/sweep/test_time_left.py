"""The estimated time of a sweep: from its loads at first, and then from the points measured so far."""

from __future__ import annotations

from collections.abc import Mapping

from benchhydra.points import Identity
from benchhydra.sweep.group.time_left import TimeLeft

A, B, C, D = (Identity(key, "", 0) for key in "abcd")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def estimate(loads_s: Mapping[Identity, float], clock: Clock, *, open_ended: bool = False) -> TimeLeft:
    """Two servers with two points each."""
    return TimeLeft(groups=[[A, B], [C, D]], loads_s=lambda: loads_s, open_ended=open_ended, clock=clock)


LOADS_S = {A: 60.0, B: 60.0, C: 120.0, D: 120.0}


def test_before_a_point_was_measured_the_loads_are_the_least() -> None:
    clock = Clock()
    left = estimate(LOADS_S, clock)
    left.begin(A)
    assert left.words() == "at least 6 min left"
    clock.now += 30
    assert left.words() == "at least 6 min left"  # 5.5, rounded to even
    clock.now += 15
    assert left.words() == "at least 5 min left"


def test_measured_starts_and_rests_stand_for_those_to_come() -> None:
    clock = Clock()
    left = estimate(LOADS_S, clock)
    left.begin(A)
    left.end(A, wall_s=110.0, start_s=40.0)  # 10 s besides the load and the start
    left.begin(B)
    # 60 + 10 for b; 40 + 120 + 10 for c; 120 + 10 for d
    assert left.words() == "about 6 min left"
    clock.now += 70
    assert left.words() == "about 5 min left"
    clock.now += 600  # b takes longer than expected: c and d still come
    assert left.words() == "about 5 min left"
    left.end(B, wall_s=670.0, start_s=None)
    left.begin(C)
    left.end(C, wall_s=170.0, start_s=40.0)
    left.begin(D)
    left.end(D, wall_s=130.0, start_s=None)
    assert left._group_of == {}


def test_of_loads_of_unknown_length_nothing_is_said_until_one_was_measured() -> None:
    clock = Clock()
    left = estimate({}, clock)
    left.begin(A)
    assert left.words() == ""
    left.end(A, wall_s=50.0, start_s=20.0)
    left.begin(B)
    assert left.words() == "about 2 min left"  # 30, 20 + 30, 30
    left.end(B, wall_s=30.0, start_s=None)
    left.begin(C)
    assert left.words() == "about 80 s left"


def test_a_point_that_failed_or_was_skipped_says_nothing_about_the_others() -> None:
    left = estimate({}, Clock())
    left.begin(A)
    left.end(A, wall_s=None, start_s=None)
    left.begin(B)
    assert left.words() == ""
    left = estimate(LOADS_S, Clock())
    left.end(A, None, None)  # not tried
    left.begin(B)
    assert left.words() == "at least 5 min left"


def test_a_search_may_add_points() -> None:
    left = estimate(LOADS_S, Clock(), open_ended=True)
    left.begin(A)
    left.end(A, wall_s=70.0, start_s=None)
    left.begin(B)
    assert left.words() == "at least 6 min left"
    extra = Identity("a", "", 7)
    left.begin(extra)
    left.end(extra, wall_s=70.0, start_s=None)
