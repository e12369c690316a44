"""A share sent by this very process: a loop of its own, signals turned into an orderly end."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic_ns

import uvloop

from benchhydra import interruption
from benchhydra.loadgen.sender import Sender
from benchhydra.loadgen.share import Report, Sent, Share

#: Time from being ready to the first scheduled moment.
LEAD_NS = 5_000_000


def send_here(share: Share, report: Report) -> Sent:
    """Send a share. The first SIGINT or SIGTERM ends it with what there is; a second one raises KeyboardInterrupt."""

    async def run() -> Sent:
        sender = Sender(share, report)
        with signals(asyncio.get_running_loop(), sender.stop):
            await sender.open()
            return await sender.send(monotonic_ns() + LEAD_NS)

    runner, sent = asyncio.Runner(loop_factory=uvloop.new_event_loop), None
    try:
        sent = runner.get_loop().run_until_complete(run())
    finally:
        # After an interruption under heavy load uvloop was seen to wait for ever in closing its loop, for a connection
        # that was being made. The program ends then anyway, and takes the loop with it.
        if sent is None or not sent.interrupted:
            runner.close()
    return sent


@contextmanager
def signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` at the first SIGINT or SIGTERM, inside the loop; the handlers of before come back afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = (signal.SIGINT, signal.SIGTERM)
    before = {name: signal.getsignal(name) for name in names}

    def first(number: int) -> None:
        interruption.note(number)
        for name in names:
            loop.remove_signal_handler(name)
            signal.signal(name, signal.default_int_handler)
        stop()

    for name in names:
        loop.add_signal_handler(name, first, name)
    try:
        yield
    finally:
        for name in names:
            loop.remove_signal_handler(name)
            signal.signal(name, before[name] if before[name] is not None else signal.SIG_DFL)
