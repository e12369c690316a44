"""Sends a shard from this process, in a new event loop; a signal stops sending and keeps the rows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic_ns

import uvloop

from benchhydra.interruption import stop_on_signal
from benchhydra.loadgen.sender.sender import Sender
from benchhydra.loadgen.shards import ReportProgress, Shard, ShardResult

#: Time from readiness to the start of the schedule.
LEAD_NS = 5_000_000


def send_here(shard: Shard, report: ReportProgress) -> ShardResult:
    """Send a shard and return its result, partial after SIGINT or SIGTERM. A second signal raises KeyboardInterrupt."""

    async def run() -> ShardResult:
        loop, sender = asyncio.get_running_loop(), Sender(shard, report)
        with stop_on_signal(lambda: loop.call_soon_threadsafe(sender.stop)) as signals:
            await sender.open()
            result = await sender.send(monotonic_ns() + LEAD_NS)
        # a signal may have arrived after the last answer
        return replace(result, interrupted=result.interrupted or bool(signals))

    runner, result = asyncio.Runner(loop_factory=uvloop.new_event_loop), None
    try:
        result = runner.get_loop().run_until_complete(run())
    finally:
        # After an interruption under heavy load, uvloop was seen to hang in closing its loop, waiting for a connection
        # that was being opened. So do not close it then: the program is about to exit anyway.
        if result is None or not result.interrupted:
            runner.close()
    return result
