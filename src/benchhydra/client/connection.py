"""One connection: an asyncio.Protocol that time-stamps packets. One clock reading per packet, no object per token.

A request's bytes are written directly to the socket (with TLS, to the transport), so that ``sent_ns`` is the time just
before the system call, without a queue in between.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from array import array
from collections.abc import Set
from time import monotonic_ns
from typing import Protocol, cast

from benchhydra.client.chunk_template import TemplateLearner
from benchhydra.client.response_parser import ResponseParser
from benchhydra.records import NEVER, Status

_ZERO = array("f", [0.0])
#: Errors that are limits of this machine, not of the server, and what to do about them.
_CLIENT_LIMITS = {
    errno.EMFILE: "raise ulimit -n",
    errno.ENFILE: "raise fs.file-max",
    errno.EADDRNOTAVAIL: "fewer connections, or a wider net.ipv4.ip_local_port_range",
    errno.ENOBUFS: "fewer connections, or more memory",
    errno.ENOMEM: "fewer connections, or more memory",
}


class ConnectionOwner(Protocol):
    """Receives the events of connections."""

    def finished(self, connection: Connection, now_ns: int) -> None:
        """Called when the connection's request has ended, successfully or not."""

    def closed(self, connection: Connection) -> None:
        """Called when the server has closed an idle connection."""

    def crashed(self, error: BaseException) -> None:
        """Called with an exception that is a bug of this program: the load must end."""


class Connection(asyncio.Protocol):
    """A keep-alive connection that carries one request at a time; ``row``: its row, -1 if idle."""

    def __init__(self, owner: ConnectionOwner, sock: socket.socket, parser: ResponseParser, *, tls: bool) -> None:
        self.response = parser.response
        self.gaps_ns = array("f")
        self.row = -1
        self.sent_ns = self.first_byte_ns = self.first_ns = self.last_ns = NEVER
        self.idle_since_ns = 0
        self.open = False
        self._generated = False  # the finish reason was received
        self._owner = owner
        self._parser = parser
        self._sock = sock
        self._tls = tls
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the methods without the base class
        self.open = True

    def usable(self) -> bool:
        """Return whether an idle connection is open and has no data. Peeks at the socket: the loop may lag behind."""
        if not self.open:
            return False
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        return False

    def expect(self, model: str, others: Set[str], learner: TemplateLearner) -> None:
        """Set the model's name that answers must have from now on, see ``ResponseParser.expect``."""
        self._parser.expect(model, others, learner)

    def retry_after_s(self) -> float | None:
        """Return the wait in seconds that the last answer asks for; None if it asks for none."""
        return self._parser.retry_after_s()

    def send(self, row: int, request: bytes) -> None:
        """Send a request. ``owner.finished`` is called once when it has ended."""
        self.row = row
        self._parser.begin()
        self.first_byte_ns = self.first_ns = self.last_ns = NEVER
        self._generated = False
        del self.gaps_ns[:]
        self.sent_ns = monotonic_ns()
        try:
            self._write(request)
        except OSError as error:
            status, text = classify_os_error(error, Status.RESET)
            if status is Status.CLIENT_LIMIT:
                self.response.fail(status, text)
            self._parser.end(describe_os_error(error))
            self._finish(monotonic_ns())

    def _write(self, request: bytes) -> None:
        assert self._transport is not None
        written = 0
        if not self._tls:
            try:
                written = self._sock.send(request)
            except (BlockingIOError, InterruptedError):
                written = 0
        if written < len(request):
            self._transport.write(request[written:])

    def data_received(self, data: bytes) -> None:
        now_ns = monotonic_ns()
        try:
            if self.row < 0:
                self.close()  # data without a request
                return
            parser = self._parser
            if parser.take_chunk(data):
                self.gaps_ns.append(now_ns - self.last_ns)
                self.last_ns = now_ns
                return
            if self.first_byte_ns < 0:
                self.first_byte_ns = now_ns
            chunks = parser.take(data)
            if chunks:
                if self.last_ns >= 0:
                    self.gaps_ns.append(now_ns - self.last_ns)
                else:
                    self.first_ns = now_ns
                self.last_ns = now_ns
                if chunks > 1:  # chunks of one packet arrived at the same time
                    self.gaps_ns.extend(_ZERO * (chunks - 1))
            if not self._generated and self.response.finish:
                self._generated = True
                if self.last_ns > self.first_ns:
                    self.last_ns = now_ns  # an end-of-sequence token has no text, but usage counts it
            if self.response.complete:
                self._finish(now_ns)
        except BaseException as error:  # noqa: BLE001 - uvloop may hang in closing a loop whose protocol has raised
            self._owner.crashed(error)

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            self._lost(exc)
        except BaseException as error:  # noqa: BLE001 - as in data_received
            self._owner.crashed(error)

    def _lost(self, exc: Exception | None) -> None:
        self.open = False
        if self.row < 0:
            self._owner.closed(self)
            return
        self._parser.end(describe_os_error(exc) if exc else "")
        self._finish(monotonic_ns())

    def give_up(self, status: Status, text: str) -> None:
        """End the current request with a status: TIMEOUT or CANCELLED."""
        self.response.status, self.response.error = status, text
        self.response.close()
        self._finish(monotonic_ns())

    def close(self) -> None:
        """Close immediately, without calling the owner."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def _finish(self, now_ns: int) -> None:
        if not self.response.keep_alive:
            self.close()
        self._owner.finished(self, now_ns)


def classify_os_error(error: OSError, status: Status) -> tuple[Status, str]:
    """Return the class and text of an error: CLIENT_LIMIT if it is a limit of this machine, else ``status``."""
    advice = None if isinstance(error, ssl.SSLError) else _CLIENT_LIMITS.get(error.errno or 0)
    if advice is None:
        return status, describe_os_error(error)
    return Status.CLIENT_LIMIT, f"{describe_os_error(error)}: a limit of this machine, not of the server ({advice})"


def describe_os_error(error: BaseException) -> str:
    """Return an error as text; a system error as name and message: "ECONNREFUSED (Connection refused)"."""
    if isinstance(error, ssl.SSLError):  # its errno is a code of OpenSSL
        return error.strerror or str(error)
    if isinstance(error, OSError) and error.errno is not None:
        name = errno.errorcode.get(error.errno, "")
        return f"{name} ({error.strerror})" if name else str(error)
    return f"{type(error).__name__}: {error}"
