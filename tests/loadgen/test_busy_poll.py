"""When the loop is kept from sleeping, and that turns in which nothing was done are not called work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic_ns

import pytest
import uvloop
from tests.loadgen.serving import served
from tests.loadgen.test_driver import answer, send

from benchhydra.loadgen.loop import busy_poll
from benchhydra.loadgen.loop.busy_poll import BusyPoller, CoreUsage

BEAT_NS = 20_000_000


class Asked:
    """A worker, and a loop that only counts what it is asked for."""

    worked = False

    def __init__(self) -> None:
        self.turns: list[Callable[[], None]] = []

    def call_soon(self, turn: Callable[[], None]) -> None:
        self.turns.append(turn)


class Said(CoreUsage):
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
        self.loop, self.usage = Asked(), Said()
        self.awake = BusyPoller(self.loop, self.loop, self.usage)  # type: ignore[arg-type]
        self.now_ns = 1_000_000_000
        self.awake.start(self.now_ns)

    def beat(self, used: float, waited: float = 0.0) -> bool:
        self.now_ns += BEAT_NS
        self.usage.spent += int(used * BEAT_NS)
        self.usage.waited += int(waited * BEAT_NS)
        self.awake.beat(self.now_ns)
        return self.awake.on


def test_a_loop_stays_awake_while_it_is_busy_and_not_full() -> None:
    scene = Scene()
    used = [0.1, 0.5, 0.2, 0.1, 0.3, 0.5, 0.95, 0.5]
    assert [scene.beat(share) for share in used] == [False, True, True, False, False, True, False, True]
    assert scene.awake.awake_ns == 3 * BEAT_NS  # those that followed a beat at which it was on
    assert len(scene.loop.turns) == 3  # asked for a turn once each time it began


def test_a_core_that_others_want_is_left_to_them_longer_each_time() -> None:
    scene = Scene()
    assert not scene.beat(0.1, waited=0.5)  # nothing is taken from them here
    for rest_ns in (busy_poll.REST_NS, 2 * busy_poll.REST_NS, 4 * busy_poll.REST_NS):
        while not scene.beat(0.5):
            pass
        assert not scene.beat(0.5, waited=0.5)
        begun_ns = scene.now_ns
        while not scene.beat(0.5):
            pass
        assert scene.now_ns - begun_ns == rest_ns


def test_idle_turns_are_no_use_of_the_core() -> None:
    scene = Scene()
    assert scene.beat(0.5)
    scene.awake.idle_ns += int(0.9 * BEAT_NS)
    assert not scene.beat(1.0)  # 0.1 of it were work


def test_turns_with_work_in_them_are_not_idle() -> None:
    turns = {}
    for worked in (True, False):
        scene = Scene()
        scene.beat(0.5)
        scene.awake._turned_ns = monotonic_ns() - 1000
        scene.loop.worked = worked
        scene.loop.turns.pop()()
        turns[worked] = scene.awake.idle_ns
        assert not scene.loop.worked
        assert len(scene.loop.turns) == 1  # the next one
    assert turns[True] == 0
    assert turns[False] >= 1000


def test_once_stopped_no_turn_asks_for_another() -> None:
    scene = Scene()
    scene.beat(0.5)
    scene.awake.stop()
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


def test_a_load_tells_how_long_it_was_kept_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(answer) as port:
        asleep = send(port)
        for name, limit in {"LEAST": -1.0, "LEAST_AWAKE": -1.0, "MOST": 2.0, "WAITED": 100.0}.items():
            monkeypatch.setattr(busy_poll, name, limit)
        driven = send(port)
    assert driven.client_awake_s > 0.1
    assert driven.client_awake_s > asleep.client_awake_s
    assert driven.client_cpu_share is not None
    assert driven.client_cpu_share < 0.8  # it used its core all the time, and most of that was no work
    assert driven.records.failures() == asleep.records.failures()
