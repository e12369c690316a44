"""The monitor of the event loop's lateness."""

from __future__ import annotations

import asyncio
import time
from time import monotonic_ns

import pytest

from benchhydra.loadgen.loop.loop_lag import PERIOD_NS, LoopLagMonitor

HELD_UP_S = 0.3


def test_a_loop_that_is_held_up_until_the_end_was_late() -> None:
    async def late_ns() -> list[float]:
        monitor = LoopLagMonitor(asyncio.get_running_loop(), lambda now_ns: None)
        monitor.start(monotonic_ns())
        time.sleep(HELD_UP_S)
        monitor.stop()
        return list(monitor.late_ns)

    beats = asyncio.run(late_ns())
    assert len(beats) >= int(HELD_UP_S * 1e9 / PERIOD_NS)
    assert max(beats) == pytest.approx(HELD_UP_S * 1e9 - PERIOD_NS, rel=0.5)


def test_a_monitor_that_never_started_has_no_beats() -> None:
    async def stopped() -> LoopLagMonitor:
        monitor = LoopLagMonitor(asyncio.get_running_loop(), lambda now_ns: None)
        assert monitor.stop() is None
        return monitor

    assert not asyncio.run(stopped()).late_ns
