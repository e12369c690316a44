"""Virtual time: the real sender, pacing, connections and parser over sockets and a clock that exist only in memory.

``virtual_time`` replaces what the load generator takes from outside (the clock, its timers, the sockets);
``run_virtually`` then drives a plan in an event loop that jumps from event to event. A load of a minute takes
milliseconds, and a machine that is busy with other work changes nothing.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol
from unittest import mock

from tests.lying.behaviour import Behaviour
from tests.lying.server import Packet

from benchhydra.client.connection_pool import ConnectionPool
from benchhydra.loadgen.driver import merge_results
from benchhydra.loadgen.local import LEAD_NS
from benchhydra.loadgen.loop import loop_lag
from benchhydra.loadgen.plan import LoadPlan, LoadResult
from benchhydra.loadgen.sender import sender
from benchhydra.loadgen.shards import split_into_shards

START_NS = 1_000_000_000_000
LONGEST_NS = 3_600_000_000_000
#: The sender's periodic tasks (timeouts, progress) run this often: no figure depends on it.
BEAT_NS = 250_000_000


class SimulatedServer(Protocol):
    """A server without sockets and clock: ``LyingServer`` and ``EndpointServer``."""

    behaviour: Behaviour

    def read(self, data: bytes) -> Any:
        """Read a request's bytes."""

    def answer(self, request: Any, received_ns: int) -> list[Packet]:
        """Return what the server sends for a request that has arrived, in order of time."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without files. ``at`` schedules a call; while nothing is ready, time jumps to the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = START_NS
        self._calls: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._selector = self  # asyncio asks it for files that are ready
        self.server: SimulatedServer | None = None

    def at(self, when_ns: int, call: Callable[..., None], *args: Any) -> None:
        """Call at a time; calls at the same time keep their order."""
        self._count += 1
        heapq.heappush(self._calls, (max(when_ns, self.now_ns), self._count, call, args))

    def time(self) -> float:
        return self.now_ns / 1e9

    def select(self, timeout: float | None) -> list[Any]:
        """Advance the time until a callback of asyncio is ready."""
        until_ns = None if timeout is None else self.now_ns + round(timeout * 1e9)
        ready: Any = self._ready  # type: ignore[attr-defined]
        while not ready and self._calls and (until_ns is None or self._calls[0][0] <= until_ns):
            self.now_ns, _, call, args = heapq.heappop(self._calls)
            call(*args)
            if self.now_ns > START_NS + LONGEST_NS:
                raise RuntimeError("the load does not end")
        if not ready:
            if until_ns is None:
                raise RuntimeError("nothing is left to happen, and the load has not ended")
            self.now_ns = max(self.now_ns, until_ns)
        return []

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        return [(2, 1, 6, "", (str(host), int(port)))]

    async def create_connection(  # type: ignore[override]  # only what the connection pool uses
        self, protocol_factory: Any, **options: Any
    ) -> Any:
        sock: VirtualSocket = options["sock"]
        sock.protocol = protocol_factory()
        transport = VirtualTransport(sock)
        sock.protocol.connection_made(transport)
        return transport, sock.protocol


class VirtualSocket:
    """Both ends of a connection: the client's socket, and the server that plays its answers into it."""

    def __init__(self, loop: VirtualLoop, server: SimulatedServer) -> None:
        self.protocol: Any = None
        self.closed = False  # by either side
        self._loop = loop
        self._server = server
        self._network_ns = int(server.behaviour.network_ms * 1e6)
        self._requests = 0  # that have arrived at the server
        self._server_closed = False

    def recv(self, size: int, flags: int) -> bytes:
        if self.closed:
            return b""
        raise BlockingIOError

    def send(self, data: bytes) -> int:
        if self.closed:
            raise BrokenPipeError(32, "Broken pipe")
        self._loop.at(self._loop.now_ns + self._network_ns, self._arrived, data)
        return len(data)

    def close(self) -> None:
        self.closed = True

    def _arrived(self, data: bytes) -> None:
        if self._server_closed:  # the race of keep-alive: the request and the end of the connection have crossed
            self._to_client(self._loop.now_ns, b"")
            return
        self._requests += 1
        packets = self._server.answer(self._server.read(data), self._loop.now_ns)
        for packet in packets:
            self._to_client(packet.at_ns, packet.data)
        idle_s = self._server.behaviour.idle_close_s
        if idle_s is not None and packets:
            self._loop.at(packets[-1].at_ns + int(idle_s * 1e9), self._close_idle, self._requests)

    def _close_idle(self, requests: int) -> None:
        if requests == self._requests and not self._server_closed:
            self._server_closed = True
            self._to_client(self._loop.now_ns, None)

    def _to_client(self, at_ns: int, data: bytes | None) -> None:
        self._loop.at(at_ns + self._network_ns, self._deliver, data)

    def _deliver(self, data: bytes | None) -> None:
        if self.closed:
            return
        if data:
            self.protocol.data_received(data)
            return
        self.closed = self._server_closed = True
        self.protocol.connection_lost(None if data is None else ConnectionResetError(104, "Connection reset by peer"))


class VirtualTransport(asyncio.Transport):
    """The transport of a connection's protocol."""

    def __init__(self, sock: VirtualSocket) -> None:
        super().__init__()
        self._sock = sock

    def write(self, data: Any) -> None:
        self._sock.send(bytes(data))

    def abort(self) -> None:
        if not self._sock.closed:
            self._sock.closed = True
            self._sock._loop.call_soon(self._sock.protocol.connection_lost, None)


class VirtualTimer:
    """As ``benchhydra.loadgen.loop.timerfd.Timer``."""

    def __init__(self, loop: VirtualLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._setting = 0

    def at(self, when_ns: int, every_ns: int = 0) -> None:
        self._setting += 1
        self._loop.at(when_ns, self._fired, self._setting, max(every_ns, BEAT_NS) if every_ns else 0)

    def close(self) -> None:
        self._setting += 1

    def _fired(self, setting: int, every_ns: int) -> None:
        if setting != self._setting:
            return
        if every_ns:
            self._loop.at(self._loop.now_ns + every_ns, self._fired, setting, every_ns)
        self._callback()


async def _connect(pool: ConnectionPool, *_: Any) -> VirtualSocket:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop) and loop.server is not None
    return VirtualSocket(loop, loop.server)


def _virtual_now_ns() -> int:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.now_ns


@contextmanager
def virtual_time() -> Iterator[None]:
    """Replace the load generator's clock, timers and sockets inside the block."""
    with ExitStack() as replaced:
        for name, module in list(sys.modules.items()):
            ours = name.startswith(("benchhydra.client", "benchhydra.loadgen"))
            if ours and getattr(module, "monotonic_ns", None) is time.monotonic_ns:
                replaced.enter_context(mock.patch.object(module, "monotonic_ns", _virtual_now_ns))
        for module in (sender, loop_lag):
            replaced.enter_context(mock.patch.object(module, "Timer", VirtualTimer))
        replaced.enter_context(mock.patch.object(ConnectionPool, "_connect", _connect))
        replaced.enter_context(mock.patch.object(gc, "collect", lambda: 0))
        yield


def run_virtually(plan: LoadPlan, server: SimulatedServer) -> LoadResult:
    """Send a plan to a server inside ``virtual_time``. The facts about the client are those of one without delay."""
    loop = VirtualLoop()
    loop.server = server

    async def send() -> Any:
        load = sender.Sender(split_into_shards(plan, 1)[0], lambda progress: None)
        await load.open()
        return await load.send(loop.now_ns + LEAD_NS)

    try:
        result = loop.run_until_complete(send())
    finally:
        loop.close()
    result.stalls_ns[:] = array("f", [1e5] * 10)
    return merge_results(plan, {0: result}, 1)
