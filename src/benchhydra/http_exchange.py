"""One HTTP exchange outside the load, with a deadline from connecting to the last byte, and limits.

No redirects, because a header with a key must not reach another host, and no proxies. ``http.client`` has no deadline
for a server that sends a byte a second, and takes 30 ms to import. The probes' helper process imports this module: keep
it light (``urllib.parse`` and ``dataclasses`` would take 20 ms).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import httptools

from benchhydra import __version__

#: Of all requests, those of the load too; a header of the user replaces it. Gateways refuse requests without any.
USER_AGENT = f"benchhydra/{__version__}"
MAX_RESPONSE_BYTES = 32 << 20
_READ_BYTES = 1 << 18


class HttpExchange(NamedTuple):
    """What a server answered. location: where a redirect leads to; "" if it is none.

    connect_s: time that connecting took. first_byte_s: time from sending the request to the first byte of the answer.
    """

    status: int
    body: bytes
    location: str
    connect_s: float = 0.0
    first_byte_s: float = 0.0


def exchange(
    url: str,
    *,
    timeout_s: float,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    verify_tls: bool = True,
    ca_file: str | None = None,
) -> HttpExchange:
    """Send one request and return the answer. timeout_s: for the whole exchange, from connecting to the last byte.

    Raises OSError: refused, timed out, reset, TLS error, not HTTP, truncated or too long.
    """
    server = _split(url)
    own = {"Host": server.authority, "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
    if body or method != "GET":
        own["Content-Length"] = str(len(body))
    request = _encode(f"{method} {server.path} HTTP/1.1", with_user_agent(own, headers or {})) + body
    deadline_s = time.monotonic() + timeout_s
    # for an ASCII str, Python imports its IDNA codec, which takes 6 ms
    address: Any = (server.host.encode() if server.host.isascii() else server.host, server.port)
    begin_s = time.monotonic()
    with socket.create_connection(address, timeout_s) as connection:
        connect_s = time.monotonic() - begin_s
        if not server.tls:
            return _exchange(connection, request, deadline_s)._replace(connect_s=connect_s)
        connection.settimeout(_remaining_s(deadline_s))
        with _encrypt(connection, server.host, verify_tls, ca_file) as encrypted:
            return _exchange(encrypted, request, deadline_s)._replace(connect_s=connect_s)


def with_user_agent(own: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
    """Return a request's own headers with User-Agent, then ``headers``, which replace them whatever their case."""
    names = {name.lower() for name in headers}
    defaults = {**own, "User-Agent": USER_AGENT}
    return {name: value for name, value in defaults.items() if name.lower() not in names} | dict(headers)


class _Url(NamedTuple):
    """The parts of a URL. ``authority``: the value of the header Host."""

    tls: bool
    host: str
    port: int
    authority: str
    path: str


def _split(url: str) -> _Url:
    try:
        parts = httptools.parse_url(url.encode())
    except httptools.HttpParserInvalidURLError as error:
        raise ConnectionError("not a valid URL") from error
    tls, host = parts.schema == b"https", (parts.host or b"").decode()
    authority = f"[{host}]" if ":" in host else host
    return _Url(
        tls=tls,
        host=host,
        port=parts.port or (443 if tls else 80),
        authority=f"{authority}:{parts.port}" if parts.port else authority,
        path=(parts.path or b"/").decode() + (f"?{parts.query.decode()}" if parts.query else ""),
    )


class _Receiver:
    """Receives the parser's callbacks of one response."""

    def __init__(self) -> None:
        self.parser: Any = httptools.HttpResponseParser(self)
        self.status = 0
        self.body = bytearray()
        self.complete = False
        self.location = ""
        self.ends_with_connection = True  # without a header that gives the body's length, closing ends the body

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self.ends_with_connection = False
        elif name == b"location":
            self.location = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = self.status >= 200  # not "100 Continue", which comes before the response


def _encode(first_line: str, fields: Mapping[str, str]) -> bytes:
    lines = [first_line, *(f"{name}: {value}" for name, value in fields.items())]
    if any(ord(character) < 32 for line in lines for character in line):
        raise ConnectionError("the URL or a header contains a line break or a control character")
    try:
        return "\r\n".join([*lines, "", ""]).encode("latin-1")
    except UnicodeEncodeError as error:
        raise ConnectionError("the URL or a header contains a character that HTTP cannot carry") from error


def _exchange(connection: socket.socket, request: bytes, deadline_s: float) -> HttpExchange:
    receiver = _Receiver()
    received_bytes, first_byte_s = 0, 0.0
    connection.settimeout(_remaining_s(deadline_s))
    begin_s = time.monotonic()
    connection.sendall(request)
    try:
        while not receiver.complete and (data := connection.recv(_READ_BYTES)):
            first_byte_s = first_byte_s or time.monotonic() - begin_s
            received_bytes += len(data)
            if received_bytes > MAX_RESPONSE_BYTES:
                raise ConnectionError(f"the response exceeds {MAX_RESPONSE_BYTES} bytes")
            receiver.parser.feed_data(data)
            connection.settimeout(_remaining_s(deadline_s))
    except httptools.HttpParserError as error:
        raise ConnectionError(f"not a valid HTTP response ({error.__context__ or error})") from error
    if not receiver.complete and not (receiver.status >= 200 and receiver.ends_with_connection):
        raise ConnectionError("the connection was closed before the response was complete")
    return HttpExchange(receiver.status, bytes(receiver.body), receiver.location, first_byte_s=first_byte_s)


def _remaining_s(deadline_s: float) -> float:
    """Return the time until the deadline. Raises TimeoutError if it has passed."""
    remaining_s = deadline_s - time.monotonic()
    if remaining_s <= 0:
        raise TimeoutError("timed out")
    return remaining_s


def _encrypt(connection: socket.socket, host: str, verify: bool, ca_file: str | None) -> socket.socket:
    import ssl  # start-up time: 10 ms, only needed for servers behind TLS

    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection, server_hostname=host)
