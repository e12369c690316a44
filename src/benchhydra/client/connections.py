"""The connections to one endpoint: opened ahead, reused, checked before use.

Connections are opened before the window, and one more whenever the reserve runs low, so that in steady state no request
waits for a handshake. Where one has to wait all the same, it is sent late and its row says so.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from time import monotonic_ns
from urllib.parse import urlsplit

from benchhydra.client import Endpoint
from benchhydra.client.protocol import Connection, ConnectionOwner

#: Idle connections older than this are not used: uvicorn closes them after 5 s, and a request must not race with that.
MAX_IDLE_NS = 4_000_000_000
#: One that has been idle for so long is used first: a reserve that is never used would be too old when it is needed.
REFRESH_NS = 2_000_000_000
#: How many connections are under way to the server at once before the window.
_OPENING = 32


class ConnectionPool:
    """Connections to one endpoint. ``idle`` ones, oldest on the left, are used last in, first out: warm ones first."""

    def __init__(self, endpoint: Endpoint, owner: ConnectionOwner, *, keep_text: bool = False) -> None:
        url = urlsplit(endpoint.base_url)
        self._endpoint = endpoint
        self._owner = owner
        self._keep_text = keep_text
        self._tls = _tls_context(endpoint) if url.scheme == "https" else None
        self._host = url.hostname or ""
        self._port = url.port or (443 if self._tls else 80)
        self._address: tuple[socket.AddressFamily, tuple[str, int]] | None = None
        self._loop = asyncio.get_running_loop()
        self.idle: deque[Connection] = deque()
        self.opening = 0

    async def open(self, count: int) -> None:
        """Find out which address of the host answers, and open connections. Failures show when requests meet them."""
        self._address = await self._first_address()
        while count > 0:
            batch = [self._loop.create_task(self.dial()) for _ in range(min(count, _OPENING))]
            made = await asyncio.gather(*batch, return_exceptions=True)
            connections = [one for one in made if isinstance(one, Connection)]
            for connection in connections:
                self.give(connection, monotonic_ns())
            for one in made:
                if isinstance(one, BaseException) and not isinstance(one, OSError):
                    self.close()
                    await asyncio.sleep(0)  # aborted transports close their sockets in the next turn
                    raise one
            count = count - len(batch) if len(connections) == len(batch) else 0

    async def _first_address(self) -> tuple[socket.AddressFamily, tuple[str, int]] | None:
        """The first address that takes a connection, or the first one of all; None where the name means nothing."""
        try:
            found = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError:
            return None
        addresses = [(socket.AddressFamily(family), (str(to[0]), int(to[1]))) for family, _, _, _, to in found]
        for address in addresses if len(addresses) > 1 else ():
            try:
                (await self._connect(*address)).close()
            except OSError:
                continue
            return address
        return addresses[0]

    async def _connect(self, family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock

    async def dial(self) -> Connection:
        """A new connection. Raises OSError (ssl.SSLError is one) where there is none to be had."""
        if self._address is None:
            raise OSError(f"{self._host}: no such host")
        sock = await self._connect(*self._address)
        connection = Connection(
            self._owner,
            sock,
            stream=self._endpoint.stream,
            keep_text=self._keep_text,
            tls=self._tls is not None,
        )
        host = self._host if self._tls else None
        try:
            await self._loop.create_connection(lambda: connection, sock=sock, ssl=self._tls, server_hostname=host)
        except BaseException:
            sock.close()
            raise
        return connection

    def spare(self) -> None:
        """Open one more connection in the background."""
        self.opening += 1
        self._loop.create_task(self.dial()).add_done_callback(self._spared)

    def _spared(self, task: asyncio.Task[Connection]) -> None:
        self.opening -= 1
        if task.cancelled() or isinstance(task.exception(), OSError):
            return  # the request that needs one will dial, and say why not
        self.give(task.result(), monotonic_ns())

    def give(self, connection: Connection, now_ns: int) -> None:
        """Take a connection back."""
        connection.row = -1
        if connection.open:
            connection.idle_since_ns = now_ns
            self.idle.append(connection)

    def take(self, now_ns: int) -> Connection | None:
        """An idle connection that is open, or None. Of those that are too old one is closed: a hundred take long."""
        idle = self.idle
        while idle:
            ageing = REFRESH_NS < now_ns - idle[0].idle_since_ns < MAX_IDLE_NS
            connection = idle.popleft() if ageing else idle.pop()
            fresh = now_ns - connection.idle_since_ns < MAX_IDLE_NS
            if fresh and connection.usable():
                return connection
            connection.close()
            if not fresh:
                return None
        return None

    def close(self) -> None:
        """Close what is idle."""
        while self.idle:
            self.idle.pop().close()


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=endpoint.ca_file)
    if not endpoint.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
