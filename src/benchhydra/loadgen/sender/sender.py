"""One process's share of a plan, sent. The schedule is absolute: being late once moves nothing that comes after."""

from __future__ import annotations

import asyncio
import gc
import resource
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic_ns
from typing import Any

import numpy as np

from benchhydra.client.connections import ConnectionPool
from benchhydra.client.protocol import Connection, describe_os_error
from benchhydra.loadgen.loop.busy_poll import BusyPoller
from benchhydra.loadgen.loop.loop_lag import LoopLagMonitor
from benchhydra.loadgen.loop.timerfd import Timer
from benchhydra.loadgen.shards import Report, Shard, ShardProgress, ShardResult
from benchhydra.records import Phase, Recorder, Status

#: Idle connections kept ready in an open loop, where nobody knows how many requests will be under way.
RESERVE = 64
#: Connections opened before the window: for all that will be sent in its first second, at most so many. One that is
#: opened inside it costs as much time as 100 chunks.
AHEAD_S = 1.0
MAX_AHEAD = 2048
_REPORT_NS = 250_000_000
_SETTLING_S = 1.0


class Sender:
    """Sends a share in the running event loop. ``stop`` ends it early."""

    def __init__(self, share: Shard, report: Report) -> None:
        count = len(share.requests)
        self._share = share
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._broken)
        self._bug: BaseException | None = None
        self._recorder = Recorder(count)
        self._recorder.counts["asked_prompt_tokens"] = share.requests.prompt_tokens
        self._recorder.counts["asked_output_tokens"] = share.requests.output_tokens
        self._texts = [""] * count if share.keep_text else []
        self._lags_ns = array("f")
        self._limit = share.max_in_flight or count
        self._due_ns = self._recorder.times["scheduled_ns"]
        self._due = self._next = 0  # rows before _due are due, those before _next have been started
        self._active: set[Connection] = set()
        self._dialing: dict[int, asyncio.Task[None]] = {}
        self._dial_ns: dict[int, int] = {}
        self._count = ShardProgress()
        self._next_report_ns = self._next_sweep_ns = 0
        self._sweep_ns = int(min(1.0, max(0.02, share.timeout_s / 10)) * 1e9)
        self._ended = asyncio.Event()
        self.interrupted = False
        self.worked = False  # since the loop's last turn, while it stays awake
        self._pool = ConnectionPool(share.endpoint, self, keep_text=share.keep_text)
        self._timer = Timer(self._loop, self._fire)
        self._pulse = LoopLagMonitor(self._loop, self._beat)
        self._awake = BusyPoller(self._loop, self)

    async def open(self) -> None:
        """What takes time and can be done before the window: connections, and collecting garbage (tens of ms)."""
        soon = int(np.searchsorted(self._share.offsets_s, AHEAD_S, side="right"))
        ahead = self._limit if self._share.closed_loop else min(self._limit, max(RESERVE, soon))
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # half of what may be open stays for all else
        await self._pool.open(min(ahead, len(self._due_ns), MAX_AHEAD, files // 2))
        gc.collect()

    async def send(self, start_ns: int) -> ShardResult:
        """Send everything, the first at ``start_ns`` plus its offset, and wait for the last answer.

        Raises what was raised inside the loop and is no failure of a request: a mistake of this program.
        """
        offsets_ns = (self._share.offsets_s * 1e9).astype(np.int64)
        self._due_ns[:] = array("q", (offsets_ns + start_ns).tobytes())
        if len(self._due_ns) and not self.interrupted:
            with _no_collection():
                self._timer.at(self._due_ns[0])
                self._pulse.start(start_ns)
                self._awake.start(monotonic_ns())
                await self._ended.wait()
        self._awake.stop()
        cpu_share = self._pulse.stop(self._awake.idle_ns)
        self._timer.close()
        await _settled()
        self._pool.close()
        if self._bug is not None:
            for connection in self._active:
                connection.close()
            await asyncio.sleep(0)  # aborted transports close their sockets in the next turn
            raise self._bug
        return ShardResult(
            records=self._recorder.records(),
            interrupted=self.interrupted,
            cpu_share=cpu_share,
            awake_s=self._awake.awake_ns / 1e9,
            stalls_ns=self._pulse.late_ns,
            lags_ns=self._lags_ns,
            texts=tuple(self._texts),
        )

    def stop(self) -> None:
        """Send no more; what is under way is cancelled."""
        if self.interrupted:
            return
        self.interrupted = True
        self._due = self._next = len(self._due_ns)
        for connection in tuple(self._active):
            connection.give_up(Status.CANCELLED, "the run was interrupted")
        self._abandon(tuple(self._dialing), Status.CANCELLED, "the run was interrupted")
        self._end_if_done()

    # Sending.

    def _fire(self) -> None:
        """Start all that is due, then sleep until the next is."""
        self.worked = True
        due_ns, count = self._due_ns, len(self._due_ns)
        while self._due < count and due_ns[self._due] <= monotonic_ns():
            self._due += 1
            self._start_waiting(due_ns[self._due - 1])
        if self._due < count:
            self._timer.at(due_ns[self._due])

    def _start_waiting(self, ready_ns: int) -> None:
        """Start the rows that are due and have room. ``ready_ns``: since when the first of them could have gone."""
        while self._next < self._due and len(self._active) + len(self._dialing) < self._limit:
            row = self._next
            self._next += 1
            if self._share.closed_loop:
                self._due_ns[row] = max(self._due_ns[row], ready_ns)
            self._start(row, max(ready_ns, self._due_ns[row]))

    def _start(self, row: int, ready_ns: int) -> None:
        pool = self._pool
        connection = pool.take(monotonic_ns())
        if connection is None:
            self._dial_ns[row] = monotonic_ns()
            self._dialing[row] = task = self._loop.create_task(self._dial(row, ready_ns))
            task.add_done_callback(asyncio.Task.result)  # a mistake in it reaches _broken
            return
        self._send(connection, row, ready_ns)
        idle = len(pool.idle) + pool.opening
        left = min(len(self._due_ns) - self._next, self._limit - len(self._active))
        if idle < RESERVE and idle < left and not self._share.closed_loop:
            pool.spare()

    def _send(self, connection: Connection, row: int, ready_ns: int) -> None:
        self._active.add(connection)
        connection.send(row, self._share.requests.take(row))
        self._lags_ns.append(connection.sent_ns - ready_ns)

    async def _dial(self, row: int, ready_ns: int) -> None:
        try:
            connection = await self._pool.dial()
        except OSError as error:
            self._abandon((row,), Status.REFUSED, describe_os_error(error))
            return
        if self._dialing.pop(row, None) is None:
            connection.close()
            return
        self._send(connection, row, ready_ns)

    def _abandon(self, rows: tuple[int, ...], status: Status, text: str) -> None:
        """Rows that never got a connection."""
        for row in rows:
            if self._dialing.pop(row, None) is not None:
                self._recorder.times["done_ns"][row] = monotonic_ns()
                self._recorder.counts["phase"][row] = Phase.MEASURED
                self._ended_badly(row, status, text)
                self._after(monotonic_ns())

    # Answers.

    def gone(self, connection: Connection) -> None:
        """An idle connection was closed by the server."""
        if connection in self._pool.idle:
            self._pool.idle.remove(connection)

    def finished(self, connection: Connection, now_ns: int) -> None:
        """Write down the row, and let the connection go."""
        row = connection.row
        self._active.discard(connection)
        self._write(connection, row, now_ns)
        self._pool.give(connection, now_ns)
        self._after(now_ns)

    def _write(self, connection: Connection, row: int, now_ns: int) -> None:
        times, counts, answer = self._recorder.times, self._recorder.counts, connection.answer
        times["sent_ns"][row] = connection.sent_ns
        times["first_byte_ns"][row] = connection.first_byte_ns
        if self._share.endpoint.stream:
            times["first_ns"][row] = connection.first_ns
            times["last_ns"][row] = connection.last_ns
            self._recorder.add_gaps(row, connection.gaps_ns)
        elif answer.status is None:
            times["last_ns"][row] = now_ns
        times["done_ns"][row] = now_ns
        counts["prompt_tokens"][row] = answer.prompt_tokens
        counts["output_tokens"][row] = answer.output_tokens
        counts["phase"][row] = Phase.MEASURED
        if self._texts:
            self._texts[row] = "".join(answer.texts)
        if answer.status is not None:
            self._ended_badly(row, answer.status, answer.error)
            return
        counts["status"][row] = Status.SHORT if self._short(connection, row) else Status.OK
        if connection.first_ns >= 0:
            self._count.ttft_sum_ns += connection.first_ns - connection.sent_ns
            self._count.ttft_count += 1

    def _short(self, connection: Connection, row: int) -> bool:
        """Fewer tokens than asked. Without usage only an answer without any text is known to be short."""
        answer = connection.answer
        asked = self._share.requests.output_tokens[row]
        got = answer.output_tokens if answer.output_tokens >= 0 else asked * bool(answer.chunks)
        return self._share.ignore_eos and got < asked

    def _ended_badly(self, row: int, status: Status, text: str) -> None:
        self._count.failed += 1
        self._recorder.error(row, status, self._without_secrets(text))

    def _without_secrets(self, text: str) -> str:
        """Servers repeat keys in their complaints."""
        for value in self._share.endpoint.headers.values():
            for secret in {value, value.rpartition(" ")[2]}:
                if len(secret) > 3:
                    text = text.replace(secret, "***")
        return text

    def _after(self, now_ns: int) -> None:
        self._count.done += 1
        if self._next < self._due:
            self._start_waiting(now_ns)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._next == len(self._due_ns) and not self._active and not self._dialing:
            self._ended.set()

    def _broken(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something raised where nobody listens. Without its row being written, waiting would never end."""
        bug = context.get("exception")
        if isinstance(bug, OSError) and "transport" in context:
            return  # the network's; connection_lost says the same
        self.mistaken(bug or RuntimeError(context["message"]))

    def mistaken(self, bug: BaseException) -> None:
        """End the run with what went wrong in this program."""
        self._bug = self._bug or bug
        self._due = self._next = len(self._due_ns)
        self._ended.set()

    # Now and then.

    def _beat(self, now_ns: int) -> None:
        self.worked = True
        self._awake.beat(now_ns)
        if now_ns >= self._next_sweep_ns:
            self._next_sweep_ns = now_ns + self._sweep_ns
            self._sweep(now_ns)
        if now_ns >= self._next_report_ns:
            self._next_report_ns = now_ns + _REPORT_NS
            self._report(self._count)
            self._count.ttft_sum_ns = self._count.ttft_count = 0

    def _sweep(self, now_ns: int) -> None:
        """Give up on what has taken longer than the timeout: one look at all, not a timer each."""
        oldest_ns = now_ns - int(self._share.timeout_s * 1e9)
        text = f"no whole answer within {self._share.timeout_s:g} s"
        for connection in [one for one in self._active if one.sent_ns < oldest_ns]:
            connection.give_up(Status.TIMEOUT, text)
        late = tuple(row for row in self._dialing if self._dial_ns[row] < oldest_ns)
        self._abandon(late, Status.TIMEOUT, f"no connection within {self._share.timeout_s:g} s")


async def _settled() -> None:
    """Wait for connections that are being made: uvloop may never close a loop where one of them was cancelled."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=_SETTLING_S)
        await asyncio.sleep(0)


@contextmanager
def _no_collection() -> Iterator[None]:
    """The garbage collector stays out of the window."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
