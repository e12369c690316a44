"""When the event loop polls instead of sleeping, and that turns in which nothing was done do not count as work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic_ns

import pytest
import uvloop
from tests.loadgen.servers import served
from tests.loadgen.test_driver import answer, send

from benchhydra.loadgen.loop import busy_poll
from benchhydra.loadgen.loop.busy_poll import BusyPoller, CoreUsage

BEAT_NS = 20_000_000


class FakeLoop:
    """A worker, and a loop that only keeps the turns it is asked for."""

    worked = False

    def __init__(self) -> None:
        self.turns: list[Callable[[], None]] = []

    def call_soon(self, turn: Callable[[], None]) -> None:
        self.turns.append(turn)


class FixedUsage(CoreUsage):
    """Usage as the test says."""

    def __init__(self) -> None:
        self.spent = self.waited = 0

    def spent_ns(self) -> int:
        return self.spent

    def waited_ns(self) -> int:
        return self.waited

    def close(self) -> None:
        pass


class Scene:
    def __init__(self) -> None:
        self.loop, self.usage = FakeLoop(), FixedUsage()
        self.poller = BusyPoller(self.loop, self.loop, self.usage)  # type: ignore[arg-type]
        self.now_ns = 1_000_000_000
        self.poller.start(self.now_ns)

    def beat(self, used: float, waited: float = 0.0) -> bool:
        self.now_ns += BEAT_NS
        self.usage.spent += int(used * BEAT_NS)
        self.usage.waited += int(waited * BEAT_NS)
        self.poller.beat(self.now_ns)
        return self.poller.on


def test_a_loop_polls_while_it_is_busy_and_not_full() -> None:
    scene = Scene()
    used = [0.1, 0.5, 0.2, 0.1, 0.3, 0.5, 0.95, 0.5]
    assert [scene.beat(fraction) for fraction in used] == [False, True, True, False, False, True, False, True]
    assert scene.poller.on_ns == 3 * BEAT_NS  # those that followed a beat at which it was on
    assert len(scene.loop.turns) == 3  # asked for a turn once each time it began


def test_polling_backs_off_twice_as_long_each_time_another_process_waited_for_the_core() -> None:
    scene = Scene()
    assert not scene.beat(0.1, waited=0.5)  # it was not polling, so it takes nothing from others
    for back_off_ns in (busy_poll.BACK_OFF_NS, 2 * busy_poll.BACK_OFF_NS, 4 * busy_poll.BACK_OFF_NS):
        while not scene.beat(0.5):
            pass
        assert not scene.beat(0.5, waited=0.5)
        began_ns = scene.now_ns
        while not scene.beat(0.5):
            pass
        assert scene.now_ns - began_ns == back_off_ns


def test_idle_turns_do_not_count_as_use_of_the_core() -> None:
    scene = Scene()
    assert scene.beat(0.5)
    scene.poller.idle_ns += int(0.9 * BEAT_NS)
    assert not scene.beat(1.0)  # 0.1 of it were work


def test_turns_with_work_in_them_are_not_idle() -> None:
    turns = {}
    for worked in (True, False):
        scene = Scene()
        scene.beat(0.5)
        scene.poller._turn_ns = monotonic_ns() - 1000
        scene.loop.worked = worked
        scene.loop.turns.pop()()
        turns[worked] = scene.poller.idle_ns
        assert not scene.loop.worked
        assert len(scene.loop.turns) == 1  # the next one
    assert turns[True] == 0
    assert turns[False] >= 1000


def test_a_stopped_poller_schedules_no_further_turn() -> None:
    scene = Scene()
    scene.beat(0.5)
    scene.poller.stop()
    scene.loop.turns.pop()()
    assert not scene.loop.turns


def test_a_threads_usage_grows_with_what_it_does() -> None:
    async def spend() -> tuple[int, int]:
        usage = CoreUsage()
        before = usage.spent_ns()
        sum(range(200_000))
        spent = usage.spent_ns() - before
        assert usage.waited_ns() >= 0
        usage.close()
        return spent, usage.waited_ns()

    spent, waited = asyncio.Runner(loop_factory=uvloop.new_event_loop).run(spend())
    assert spent > 0
    assert waited == 0  # closed


def test_a_load_reports_how_long_it_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"START_ABOVE": -1.0, "STOP_BELOW": -1.0, "STOP_ABOVE": 2.0, "MAX_WAIT_FRACTION": 100.0}
    with served(answer) as port:
        sleeping = send(port)
        for name, limit in limits.items():
            monkeypatch.setattr(busy_poll, name, limit)
        polling = send(port)
    assert polling.facts["client_busy_poll_s"] > 0.1
    assert polling.facts["client_busy_poll_s"] > sleeping.facts["client_busy_poll_s"]
    assert polling.facts["client_cpu_fraction"] is not None
    assert polling.facts["client_cpu_fraction"] < 0.8  # it used its core all the time, and most of that was no work
    assert polling.records.failures() == sleeping.records.failures()
