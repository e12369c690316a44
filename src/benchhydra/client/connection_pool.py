"""The connections to one endpoint: opened ahead, reused, checked before use.

Connections are opened before the window, and one more whenever few are idle, so that in steady state no request waits
for a handshake. A request that does wait is sent late, which its row shows.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from time import monotonic_ns
from urllib.parse import urlsplit

from benchhydra.client.answer_ids import AnswerIds
from benchhydra.client.chunk_template import TemplateLearner
from benchhydra.client.connection import Connection, ConnectionOwner
from benchhydra.client.endpoint import Endpoint
from benchhydra.client.response_parser import ResponseParser

#: Connections idle for longer are not used: uvicorn closes them after 5 s, which must not coincide with a request.
MAX_IDLE_NS = 4_000_000_000
#: A connection idle for longer is used first, so that connections that are rarely needed do not exceed MAX_IDLE_NS.
REFRESH_NS = 2_000_000_000
#: Connections are opened before the window for at most this long; what is missing then is opened by the requests.
OPEN_TIMEOUT_S = 30.0
#: How many connections are opened concurrently before the window.
_DIALLED_AT_ONCE = 32


class ConnectionPool:
    """Connections to one endpoint. ``idle``: oldest on the left; the one used last is reused first."""

    def __init__(
        self, endpoint: Endpoint, owner: ConnectionOwner, *, stream: bool = True, keep_text: bool = False
    ) -> None:
        url = urlsplit(endpoint.base_url)
        self._endpoint = endpoint
        self._owner = owner
        self._stream = stream
        self._keep_text = keep_text
        self._learner = TemplateLearner(endpoint.api)
        self._adapter_models = frozenset(endpoint.adapter_models)
        self._adapter_learners = {name: TemplateLearner(endpoint.api) for name in self._adapter_models}
        self._answer_ids = AnswerIds()
        self._tls = _tls_context(endpoint) if url.scheme == "https" else None
        self._host = url.hostname or ""
        self._port = url.port or (443 if self._tls else 80)
        self._address: tuple[socket.AddressFamily, tuple[str, int]] | None = None
        self._loop = asyncio.get_running_loop()
        self.idle: deque[Connection] = deque()
        self.opening = 0

    async def open(self, count: int) -> None:
        """Resolve the host, and open connections, for at most OPEN_TIMEOUT_S.

        Network errors are ignored: the requests meet and record them.
        """
        deadline_s = self._loop.time() + OPEN_TIMEOUT_S
        self._address = await self._first_address()
        while count > 0 and (remaining_s := deadline_s - self._loop.time()) > 0:
            dials = [self._loop.create_task(self.dial()) for _ in range(min(count, _DIALLED_AT_ONCE))]
            done, slow = await asyncio.wait(dials, timeout=remaining_s)
            for dial in slow:  # not cancelled: uvloop may hang in closing a loop in which one was
                self.opening += 1
                dial.add_done_callback(self._dialled)
            errors = [error for dial in done if (error := dial.exception()) is not None]
            for dial in done:
                if dial.exception() is None:
                    self.put_back(dial.result(), monotonic_ns())
            for error in errors:
                if not isinstance(error, OSError):
                    self.close()
                    await asyncio.sleep(0)  # aborted transports close their sockets in the next loop iteration
                    raise error
            count = 0 if errors or slow else count - len(dials)

    async def _first_address(self) -> tuple[socket.AddressFamily, tuple[str, int]] | None:
        """Return the first address that accepts a connection, else the first address; None if the name is unknown."""
        try:
            resolved = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError:
            return None
        addresses = [(socket.AddressFamily(family), (str(to[0]), int(to[1]))) for family, _, _, _, to in resolved]
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
        """Open and return a new connection. Raises OSError (including ssl.SSLError) if that fails."""
        if self._address is None:
            raise OSError(f"{self._host}: no such host")
        sock = await self._connect(*self._address)
        parser = ResponseParser(
            self._endpoint.api,
            self._learner,
            self._answer_ids,
            stream=self._stream,
            keep_text=self._keep_text,
            model=self._endpoint.answer_model,
        )
        connection = Connection(self._owner, sock, parser, tls=self._tls is not None)
        host = self._host if self._tls else None
        try:
            await self._loop.create_connection(lambda: connection, sock=sock, ssl=self._tls, server_hostname=host)
        except BaseException:
            sock.close()
            raise
        return connection

    def expect(self, connection: Connection, model: str) -> None:
        """Require a model's name, one of the endpoint's ``adapter_models``, of the connection's next answer."""
        connection.expect(model, self._adapter_models - {model}, self._adapter_learners[model])

    def dial_in_background(self) -> None:
        """Open one more idle connection in the background."""
        self.opening += 1
        self._loop.create_task(self.dial()).add_done_callback(self._dialled)

    def _dialled(self, task: asyncio.Task[Connection]) -> None:
        self.opening -= 1
        if task.cancelled() or isinstance(task.exception(), OSError):
            return  # the request that needs a connection will dial again, and its row records the error
        self.put_back(task.result(), monotonic_ns())

    def put_back(self, connection: Connection, now_ns: int) -> None:
        """Add a connection to the idle ones if it is open."""
        connection.row = -1
        if connection.sent_ns >= 0 and not self._endpoint.keep_alive:
            connection.close()
        if connection.open:
            connection.idle_since_ns = now_ns
            self.idle.append(connection)

    def take(self, now_ns: int) -> Connection | None:
        """Return an idle connection that is open, or None.

        Closes at most one that is too old: closing many at once stalls the loop.
        """
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

    def forget(self, connection: Connection) -> None:
        """Remove an idle connection that the server has closed."""
        if connection in self.idle:
            self.idle.remove(connection)

    def close(self) -> None:
        """Close the idle connections."""
        while self.idle:
            self.idle.pop().close()


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=endpoint.ca_file)
    if not endpoint.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
