"""Sends one shard of a load in the running event loop, at the times that the pacing decides."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Sequence
from time import monotonic_ns
from typing import Any

from benchhydra.errors import EngineError
from benchhydra.garbage_collection import postponed_collection
from benchhydra.loadgen.client_facts import SLO_DECISION, STOPPED_EARLY
from benchhydra.loadgen.early_stop import Decision
from benchhydra.loadgen.loop.timerfd import Timer
from benchhydra.loadgen.pacing.nothing_more import NothingMore
from benchhydra.loadgen.sender.early_requests import EarlyRequests
from benchhydra.loadgen.sender.housekeeping import Housekeeping
from benchhydra.loadgen.sender.in_flight import InFlight, RequestsInFlight
from benchhydra.loadgen.sender.replicas import ReplicasInFlight
from benchhydra.loadgen.sender.rows import RowWriter
from benchhydra.loadgen.shards import ReportProgress, Shard, ShardResult
from benchhydra.records import NEVER

#: How often in a row a pacing may set ``wake_ns`` to a past time and then release nothing, before the load fails.
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
        self._finished: deque[tuple[int, int]] = deque()  # (row, time) of rows that ended during ``_send``
        self._sending = False
        self._stopped = False
        self._crash: BaseException | None = None
        self._all_ended = asyncio.Event()
        self._rows = RowWriter(shard)
        self._scheduled_ns = self._rows.scheduled_ns
        self._pacing.statuses = self._rows.statuses
        self._early = EarlyRequests(shard.requests.take) if shard.requests.slow_to_take else None
        take = shard.requests.take if self._early is None else self._early.take
        in_flight = ReplicasInFlight if shard.endpoint.replica_urls else InFlight
        self._in_flight: RequestsInFlight = in_flight(shard, self._rows, self._on_end, self._on_crash, take)
        self._early_stop = shard.early_stop
        self._decision: Decision | None = None
        look = self._look_at_limits if shard.early_stop is not None else None
        self._housekeeping = Housekeeping(self._in_flight, shard.timeout_s, self._rows.progress, report, look)
        self._timer = Timer(self._loop, self._wake)
        self._wake_ns = NEVER  # the time that the timer is set to
        self._idle_wakes = 0

    async def open(self) -> None:
        """Open connections and collect garbage (tens of ms) before the window."""
        await self._in_flight.open()
        gc.collect()

    async def send(self, start_ns: int) -> ShardResult:
        """Send everything, beginning at ``start_ns``, and wait for the last answer.

        Re-raises exceptions in the loop that are bugs of this program or of a pacing (failed requests are rows). Raises
        EngineError if the pacing stops before it has released all rows.
        """
        self._pacing.start(start_ns)
        with postponed_collection():  # a collection stalls the loop for tens of ms
            if self._unsent and not self.interrupted:
                self._schedule_wake()
                self._housekeeping.start(start_ns)
                await self._all_ended.wait()
            facts = self._housekeeping.stop()
        if self._decision is not None:
            facts |= {STOPPED_EARLY: True, SLO_DECISION: self._decision}
        self._timer.close()
        await self._in_flight.close()
        if self._crash is not None:
            await self._in_flight.abort()
            raise self._crash
        return ShardResult(
            records=self._rows.records(),
            interrupted=self.interrupted,
            facts=facts,
            start_ns=start_ns,
            stalls_ns=self._housekeeping.stalls_ns,
            lags_ns=self._rows.lags_ns,
            texts=self._rows.texts(),
        )

    def stop(self) -> None:
        """Stop sending, and cancel the requests in flight."""
        if self.interrupted:
            return
        self.interrupted = self._stopped = True
        self._in_flight.cancel("the run was interrupted")
        self._all_ended.set()

    def _look_at_limits(self) -> None:
        """Stop sending, and wait for the answers in flight, if it is decided whether the limits are met."""
        early_stop = self._early_stop
        if early_stop is None or self._decision is not None or not self._unsent:
            return
        if self._rows.progress.done < early_stop.next_count:
            return  # copying the rows stalls the loop
        self._decision = early_stop.decide(self._rows.steady_prefix())
        if self._decision is not None:
            self._pacing = NothingMore(self._pacing, self._unsent)
            self._schedule_wake()

    def _wake(self) -> None:
        """Send the rows that the pacing releases at its ``wake_ns``."""
        if self._stopped:
            return
        self._wake_ns = NEVER
        now_ns = monotonic_ns()
        rows = self._pacing.next(now_ns)
        idle = not rows and self._pacing.wake_ns <= now_ns
        self._idle_wakes = self._idle_wakes + 1 if idle else 0
        while rows:
            self._send(rows)
            rows = self._pacing.next(monotonic_ns())  # more rows may have become due meanwhile
        self._schedule_wake()

    def _on_end(self, row: int, now_ns: int) -> None:
        """Send the rows that the end of a request releases."""
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
        """Send rows, then in a loop, not by recursion, the rows released by requests that failed immediately."""
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
            raise EngineError(f"{type(pacing).__name__} released row {row}, which does not exist or was already sent")
        released[row] = 1
        self._unsent -= 1
        self._under_way += 1
        self._scheduled_ns[row] = pacing.scheduled_ns(row)
        self._in_flight.send(row, pacing.ready_ns(row))

    def _schedule_wake(self) -> None:
        """Set the timer to the pacing's ``wake_ns``; end the load if all rows have ended or none can be released."""
        wake_ns = self._pacing.wake_ns
        if wake_ns != self._wake_ns:
            self._wake_ns = wake_ns
            if wake_ns != NEVER:
                self._timer.at(wake_ns)
                if self._early is not None:
                    self._early.prepare(self._pacing.upcoming())
        if not self._under_way:
            if self._unsent <= self._pacing.skipped:
                self._all_ended.set()
            elif wake_ns == NEVER or self._idle_wakes > _MAX_IDLE_WAKES:
                kind = type(self._pacing).__name__
                text = f"{kind} stopped with {self._unsent} requests unsent and none in flight"
                self._on_crash(EngineError(text))

    def _on_unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """End the load at an exception in a callback: without the row of its request, ``send`` would wait forever."""
        error = context.get("exception")
        if isinstance(error, OSError) and "transport" in context:
            return  # a network error, which connection_lost reports as well
        self._on_crash(error or RuntimeError(context["message"]))

    def _on_crash(self, error: BaseException) -> None:
        """End the load with an exception that is a bug of this program."""
        self._crash = self._crash or error
        self._stopped = True
        self._all_ended.set()
