"""A share sent by this very process: a loop of its own, signals turned into an orderly end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic_ns

import uvloop

from benchhydra.interruption import stop_on_signal
from benchhydra.loadgen.sender.sender import Sender
from benchhydra.loadgen.shards import Report, Shard, ShardResult

#: Time from being ready to the first scheduled moment.
LEAD_NS = 5_000_000


def send_here(share: Shard, report: Report) -> ShardResult:
    """Send a share. The first SIGINT or SIGTERM ends it with what there is; a second one raises KeyboardInterrupt."""

    async def run() -> ShardResult:
        loop, sender = asyncio.get_running_loop(), Sender(share, report)
        with stop_on_signal(lambda: loop.call_soon_threadsafe(sender.stop)) as asked:
            await sender.open()
            sent = await sender.send(monotonic_ns() + LEAD_NS)
        return replace(sent, interrupted=sent.interrupted or bool(asked))  # it may have come after the last answer

    runner, sent = asyncio.Runner(loop_factory=uvloop.new_event_loop), None
    try:
        sent = runner.get_loop().run_until_complete(run())
    finally:
        # After an interruption under heavy load uvloop was seen to wait for ever in closing its loop, for a connection
        # that was being made. The program ends then anyway, and takes the loop with it.
        if sent is None or not sent.interrupted:
            runner.close()
    return sent
