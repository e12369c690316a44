"""A shard sent by this very process: in an event loop of its own; a signal ends it in order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic_ns

import uvloop

from benchhydra.interruption import stop_on_signal
from benchhydra.loadgen.sender.sender import Sender
from benchhydra.loadgen.shards import ReportProgress, Shard, ShardResult

#: Time from being ready to the first scheduled moment.
LEAD_NS = 5_000_000


def send_here(shard: Shard, report: ReportProgress) -> ShardResult:
    """Send a shard. The first SIGINT or SIGTERM ends it with what there is; a second one raises KeyboardInterrupt."""

    async def run() -> ShardResult:
        loop, sender = asyncio.get_running_loop(), Sender(shard, report)
        with stop_on_signal(lambda: loop.call_soon_threadsafe(sender.stop)) as signals:
            await sender.open()
            result = await sender.send(monotonic_ns() + LEAD_NS)
        # a signal may have come after the last answer
        return replace(result, interrupted=result.interrupted or bool(signals))

    runner, result = asyncio.Runner(loop_factory=uvloop.new_event_loop), None
    try:
        result = runner.get_loop().run_until_complete(run())
    finally:
        # After an interruption under heavy load uvloop was seen to wait for ever in closing its loop, for a connection
        # that was being made. The program ends then anyway, and the loop with it.
        if result is None or not result.interrupted:
            runner.close()
    return result
