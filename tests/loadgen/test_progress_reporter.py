"""The progress of a load: what is done, how long it takes, and when only answers are missing."""

from __future__ import annotations

import pytest

from benchhydra.loadgen import progress_reporter
from benchhydra.loadgen.progress_reporter import ProgressReporter
from benchhydra.loadgen.shards import ShardProgress
from benchhydra.progress import LoadProgress, Progress

SECOND = 1_000_000_000


class Recorded(Progress):
    def __init__(self) -> None:
        self.loads: list[LoadProgress] = []

    def requests(self, load: LoadProgress) -> None:
        self.loads.append(load)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time in ns, which a test may change."""
    times = [5 * SECOND]
    monkeypatch.setattr(progress_reporter, "monotonic_ns", lambda: times[0])
    return times


def at(now: list[int], seconds: float, done: int, last_send_s: float | None, max_in_flight: int | None) -> LoadProgress:
    """The progress of 100 requests of two processes, after so many seconds with ``done`` answers."""
    progress = Recorded()
    report = ProgressReporter(100, last_send_s, max_in_flight, progress, 2)
    now[0] += int(seconds * SECOND)
    report(1, ShardProgress(done=done // 2))
    report(0, ShardProgress(done=done - done // 2, failed=1, ttft_sum_ns=30_000_000, ttft_count=2))
    return progress.loads[-1]


def test_while_a_schedule_is_sent_its_rest_is_the_time_left(now: list[int]) -> None:
    load = at(now, 4.0, 40, 10.0, None)
    assert load == LoadProgress(40, 100, failed=1, rate_rps=10.0, ttft_ms=15.0, left_s=6.0, waiting=None)


@pytest.mark.parametrize(
    ("seconds", "done", "last_send_s", "max_in_flight", "waiting"),
    [
        (11.0, 53, 10.0, None, 47),
        (11.0, 53, 10.0, 8, None),  # requests still wait for a free slot
        (11.0, 95, 10.0, 8, 5),
        (11.0, 100, 10.0, None, None),  # all answered
        (1.0, 95, 10.0, 8, None),  # ahead of the schedule
        (0.5, 3, 0.0, None, 97),  # all sent at once
        (3.0, 50, None, 8, None),  # a closed loop ...
        (3.0, 93, None, 8, 7),  # ... which has sent its last request
        (3.0, 93, None, None, None),  # whether something is still to be sent is unknown
    ],
)
def test_when_all_is_sent_the_missing_answers_are_counted(
    now: list[int], seconds: float, done: int, last_send_s: float | None, max_in_flight: int | None, waiting: int | None
) -> None:
    assert at(now, seconds, done, last_send_s, max_in_flight).waiting == waiting
