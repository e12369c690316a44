"""The requests in flight: each has a connection of its own, or waits for one that is being opened."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from time import monotonic_ns
from typing import NamedTuple, Protocol

import numpy as np

from benchhydra.client.connection import Connection, classify_os_error
from benchhydra.client.connection_pool import ConnectionPool
from benchhydra.loadgen.client_limits import OTHER_FILES, raise_open_files
from benchhydra.loadgen.sender.retrier import Retrier
from benchhydra.loadgen.sender.rows import RowWriter
from benchhydra.loadgen.shards import Shard
from benchhydra.records import ADAPTER, NEVER, Status

#: Idle connections kept open if the number of requests in flight is not fixed.
RESERVE = 64
#: Connections opened before the window: for all requests of its first second (AHEAD_S), at most MAX_AHEAD. Opening one
#: inside the window costs as much time as reading 100 chunks.
AHEAD_S = 1.0
MAX_AHEAD = 2048
_SETTLING_S = 1.0
#: An answer of more chunks is ended as MALFORMED; the gaps between them take 4 bytes each.
_MAX_CHUNKS = 1 << 21


class Dial(NamedTuple):
    """A row that waits for a connection: when the wait began, and when the row was ready to be sent."""

    began_ns: int
    ready_ns: int


class RequestsInFlight(Protocol):
    """What a sender does with its requests in flight, to one server or to several."""

    open_files_limit: int

    async def open(self) -> None: ...
    def send(self, row: int, ready_ns: int) -> None: ...
    def cancel(self, text: str) -> None: ...
    def give_up_after(self, timeout_s: float, now_ns: int) -> None: ...
    def cancel_due(self, now_ns: int) -> None: ...
    async def close(self) -> None: ...
    async def abort(self) -> None: ...


class InFlight:
    """Sends requests. Calls ``on_end(row, time_ns)`` for each that has ended, ``on_crash`` for bugs of this program.

    take: returns a request's bytes, once per request.
    """

    def __init__(
        self,
        shard: Shard,
        rows: RowWriter,
        on_end: Callable[[int, int], None],
        on_crash: Callable[[BaseException], None],
        take: Callable[[int], bytes],
    ) -> None:
        count, pacing = len(shard.requests), shard.pacing
        self.open_files_limit = 0  # of this process, known when ``open`` has ended
        self.crashed = on_crash
        self._loop = asyncio.get_running_loop()
        self._rows = rows
        self._on_end = on_end
        self._limit = min(count, pacing.max_in_flight or count)
        self._always_full = pacing.max_in_flight is not None and not pacing.open_loop
        self._send_times_s = pacing.send_times_s
        self._unsent = count
        self._active: set[Connection] = set()
        self._dials: dict[int, Dial] = {}
        self._cancellations = shard.behaviour.cancellations
        retries = shard.behaviour.retries
        self._retrier = Retrier(retries, take, rows.tries, self._send_again) if retries else None
        self._take = take if self._retrier is None else self._retrier.take
        keep_text = shard.keep_text or shard.requests.needs_texts
        self._adapter_models = shard.endpoint.adapter_models
        self._adapter_of = shard.requests.labels.get(ADAPTER, array("i"))
        self._pool = ConnectionPool(shard.endpoint, self, stream=shard.stream, keep_text=keep_text)

    async def open(self) -> None:
        """Open connections before the window: as many as the load will need in its first second."""
        soon = int(np.searchsorted(self._send_times_s, AHEAD_S, side="right"))
        ahead = self._limit if self._always_full else min(self._limit, max(RESERVE, soon))
        self.open_files_limit = raise_open_files(self._limit)
        await self._pool.open(min(ahead, MAX_AHEAD, max(1, self.open_files_limit - OTHER_FILES)))

    def send(self, row: int, ready_ns: int) -> None:
        """Send a request that was ready at ``ready_ns``: at once, or when a connection has been opened."""
        self._unsent -= 1
        self._send_now(row, ready_ns)

    def _send_again(self, row: int) -> None:
        """Send a request whose last try failed."""
        self._send_now(row, monotonic_ns())

    def _send_now(self, row: int, ready_ns: int) -> None:
        pool = self._pool
        now_ns = monotonic_ns()
        if self._retrier is not None:
            self._retrier.begin(row)
        connection = pool.take(now_ns)
        if connection is None:
            self._dials[row] = Dial(now_ns, ready_ns)
            # result() re-raises an exception of the task in the loop's exception handler
            self._loop.create_task(self._dial(row)).add_done_callback(asyncio.Task.result)
            return
        self._send_on(connection, row, ready_ns)
        if not self._always_full:
            idle = len(pool.idle) + pool.opening
            if idle < RESERVE and idle < min(self._unsent, self._limit - len(self._active)):
                pool.dial_in_background()

    def _send_on(self, connection: Connection, row: int, ready_ns: int) -> None:
        self._active.add(connection)
        if self._adapter_models:
            self._pool.expect(connection, self._adapter_models[self._adapter_of[row]])
        connection.send(row, self._take(row))
        self._rows.lags_ns.append(connection.sent_ns - ready_ns)

    async def _dial(self, row: int) -> None:
        try:
            connection = await self._pool.dial()
        except OSError as error:
            self._abandon(row, *classify_os_error(error, Status.REFUSED))
            return
        dial = self._dials.pop(row, None)
        if dial is None:  # given up meanwhile
            connection.close()
        else:
            self._send_on(connection, row, dial.ready_ns)

    def _abandon(self, row: int, status: Status, text: str) -> None:
        """End a row that never got a connection."""
        dial = self._dials.pop(row, None)
        if dial is None:
            return
        if self._retrier is not None:
            if self._retrier.retry(row, dial.began_ns, status, text):
                return
            self._retrier.end(row, dial.began_ns)
        self._rows.never_sent(row, status, text)
        self._on_end(row, monotonic_ns())

    def finished(self, connection: Connection, now_ns: int) -> None:
        """Record the row of a connection's request that has ended, and return the connection to the pool."""
        row = connection.row
        self._active.discard(connection)
        if self._retrier is not None:
            if self._retrier.retry_answered(connection):
                self._pool.put_back(connection, now_ns)
                return
            connection.sent_ns = self._retrier.end(row, connection.sent_ns)
        self._rows.answered(connection, now_ns)
        self._pool.put_back(connection, now_ns)
        self._on_end(row, now_ns)

    def closed(self, connection: Connection) -> None:
        """Drop an idle connection that the server has closed."""
        self._pool.forget(connection)

    def cancel(self, text: str) -> None:
        """End all requests in flight as CANCELLED."""
        for connection in tuple(self._active):
            connection.give_up(Status.CANCELLED, text)
        for row in tuple(self._dials):
            self._abandon(row, Status.CANCELLED, text)
        for row in self._retrier.stop() if self._retrier is not None else ():
            self._rows.never_sent(row, Status.CANCELLED, text)
            self._on_end(row, monotonic_ns())

    def cancel_due(self, now_ns: int) -> None:
        """End the requests that the client cancels by now, and close their connections. Called every 20 ms.

        The time counts from the first try, and goes on while a request waits for another one.
        """
        cancellations, retrier = self._cancellations, self._retrier
        if cancellations is None:
            return
        rows, after_chunks = cancellations.rows, cancellations.after_chunks
        latest_ns = NEVER if cancellations.after_s is None else now_ns - int(cancellations.after_s * 1e9)
        text = f"the client cancelled it {cancellations.words}"
        for connection in [
            active
            for active in self._active
            if rows[active.row]
            and (self._sent_ns(active) <= latest_ns if after_chunks is None else active.response.chunks >= after_chunks)
        ]:
            connection.give_up(Status.USER_CANCELLED, text)
        if retrier is None:
            return
        for row in retrier.waiting_since(latest_ns):
            if rows[row]:
                self._rows.not_sent_again(row, retrier.stop_waiting(row), Status.USER_CANCELLED, text)
                self._on_end(row, now_ns)

    def _sent_ns(self, connection: Connection) -> int:
        """Return when the first try of a connection's request was sent."""
        sent_ns = connection.sent_ns
        return sent_ns if self._retrier is None else self._retrier.first_sent_ns(connection.row, sent_ns)

    def give_up_after(self, timeout_s: float, now_ns: int) -> None:
        """End all requests that exceed the timeout as TIMEOUT, and answers that do not end as MALFORMED.

        One scan of all is cheaper than a timer for each.
        """
        oldest_ns = now_ns - int(timeout_s * 1e9)
        for connection in [active for active in self._active if active.response.chunks > _MAX_CHUNKS]:
            connection.give_up(Status.MALFORMED, f"an answer of more than {_MAX_CHUNKS} chunks")
        for connection in [active for active in self._active if active.sent_ns < oldest_ns]:
            connection.give_up(Status.TIMEOUT, f"no complete answer within {timeout_s:g} s")
        for row in [row for row, dial in self._dials.items() if dial.began_ns < oldest_ns]:
            self._abandon(row, Status.TIMEOUT, f"no connection within {timeout_s:g} s")

    async def close(self) -> None:
        """Close the idle connections.

        Waits for those that are being opened, because uvloop may hang in closing a loop in which one was cancelled.
        """
        if self._retrier is not None:
            self._retrier.stop()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=_SETTLING_S)
            await asyncio.sleep(0)
        self._pool.close()

    async def abort(self) -> None:
        """Close the connections of requests in flight, without recording rows."""
        for connection in self._active:
            connection.close()
        await asyncio.sleep(0)  # aborted transports close their sockets in the next iteration of the loop
