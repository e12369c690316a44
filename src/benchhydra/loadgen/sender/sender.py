"""Sends one shard of a load from the running event loop: asks the pacing what is next, and waits for it."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic_ns
from typing import Any

from benchhydra.errors import EngineError
from benchhydra.loadgen.loop.timerfd import Timer
from benchhydra.loadgen.sender.housekeeping import Housekeeping
from benchhydra.loadgen.sender.in_flight import InFlight
from benchhydra.loadgen.sender.rows import RowWriter
from benchhydra.loadgen.shards import ReportProgress, Shard, ShardResult
from benchhydra.records import NEVER

#: So many times in a row a pacing may ask to be woken at a time that has passed, and then release nothing.
_MAX_IDLE_WAKES = 1000


class Sender:
    """Sends a shard. ``stop`` ends it early."""

    def __init__(self, shard: Shard, report: ReportProgress) -> None:
        count = len(shard.requests)
        self.interrupted = False
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._on_unhandled)
        self._pacing = shard.pacing
        self._unsent = count
        self._under_way = 0
        self._released = bytearray(count)  # 1 for each row that the pacing has released
        self._finished: deque[tuple[int, int]] = deque()  # rows that ended while others were being sent, and when
        self._sending = False
        self._stopped = False
        self._crash: BaseException | None = None
        self._all_ended = asyncio.Event()
        self._rows = RowWriter(shard)
        self._scheduled_ns = self._rows.scheduled_ns
        self._in_flight = InFlight(shard, self._rows, self._on_end, self._on_crash)
        self._housekeeping = Housekeeping(self._in_flight, shard.timeout_s, self._rows.progress, report)
        self._timer = Timer(self._loop, self._wake)
        self._wake_ns = NEVER  # what the timer is set to
        self._idle_wakes = 0

    async def open(self) -> None:
        """What takes time and can be done before the window: connections, and collecting garbage (tens of ms)."""
        await self._in_flight.open()
        gc.collect()

    async def send(self, start_ns: int) -> ShardResult:
        """Send everything, beginning at ``start_ns``, and wait for the last answer.

        Raises what was raised inside the loop and is no failure of a request (a bug of this program, or of a pacing),
        and EngineError where the pacing stops before it has released all rows.
        """
        self._pacing.start(start_ns)
        if self._unsent and not self.interrupted:
            with _no_garbage_collection():
                self._schedule_wake()
                self._housekeeping.start(start_ns)
                await self._all_ended.wait()
        facts = self._housekeeping.stop()
        self._timer.close()
        await self._in_flight.close()
        if self._crash is not None:
            await self._in_flight.abort()
            raise self._crash
        return ShardResult(
            records=self._rows.records(),
            interrupted=self.interrupted,
            facts=facts,
            stalls_ns=self._housekeeping.stalls_ns,
            lags_ns=self._rows.lags_ns,
            texts=self._rows.texts(),
        )

    def stop(self) -> None:
        """Send no more; what is under way is cancelled."""
        if self.interrupted:
            return
        self.interrupted = self._stopped = True
        self._in_flight.cancel("the run was interrupted")
        self._all_ended.set()

    def _wake(self) -> None:
        """The time has come that the pacing asked for."""
        self._in_flight.worked = True
        if self._stopped:
            return
        self._wake_ns = NEVER
        now_ns = monotonic_ns()
        rows = self._pacing.next(now_ns)
        idle = not rows and self._pacing.wake_ns <= now_ns
        self._idle_wakes = self._idle_wakes + 1 if idle else 0
        while rows:
            self._send(rows)
            rows = self._pacing.next(monotonic_ns())  # more may have become due
        self._schedule_wake()

    def _on_end(self, row: int, now_ns: int) -> None:
        """A request has ended: another one may be sent."""
        self._under_way -= 1
        if self._stopped:
            return
        if self._sending:
            self._finished.append((row, now_ns))
            return
        pacing = self._pacing
        rows = pacing.next(now_ns, row)
        if rows:
            self._send(rows)
        if not self._under_way or pacing.wake_ns != self._wake_ns:
            self._schedule_wake()

    def _send(self, rows: Sequence[int]) -> None:
        """Send rows, and those that are released by rows which fail at once: one after another, not nested."""
        self._sending = True
        while True:
            for row in rows:
                self._release(row)
            if not self._finished or self._stopped:
                break
            finished, now_ns = self._finished.popleft()
            rows = self._pacing.next(now_ns, finished)
        self._sending = False

    def _release(self, row: int) -> None:
        pacing, released = self._pacing, self._released
        if not 0 <= row < len(released) or released[row]:
            raise EngineError(f"{type(pacing).__name__} released row {row}, which does not exist or was sent")
        released[row] = 1
        self._unsent -= 1
        self._under_way += 1
        self._scheduled_ns[row] = pacing.scheduled_ns(row)
        self._in_flight.send(row, pacing.ready_ns(row))

    def _schedule_wake(self) -> None:
        """Set the timer to what the pacing asks for; end the load where nothing is left, or nothing more can come."""
        wake_ns = self._pacing.wake_ns
        if wake_ns != self._wake_ns:
            self._wake_ns = wake_ns
            if wake_ns != NEVER:
                self._timer.at(wake_ns)
        if not self._under_way:
            if not self._unsent:
                self._all_ended.set()
            elif wake_ns == NEVER or self._idle_wakes > _MAX_IDLE_WAKES:
                kind = type(self._pacing).__name__
                text = f"{kind} stopped with {self._unsent} requests unsent and none under way"
                self._on_crash(EngineError(text))

    def _on_unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something raised where nobody awaits it. Without its row being written, waiting would never end."""
        error = context.get("exception")
        if isinstance(error, OSError) and "transport" in context:
            return  # the network's; connection_lost says the same
        self._on_crash(error or RuntimeError(context["message"]))

    def _on_crash(self, error: BaseException) -> None:
        """End the run with what went wrong in this program."""
        self._crash = self._crash or error
        self._stopped = True
        self._all_ended.set()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """The garbage collector stays out of the window."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
