"""A small HTTP GET for the helper process.

All other code uses ``benchhydra.fetch``. Its ``http.client`` and ``urllib`` take 30 ms to import, which would delay the
first load if client and helper share a single core.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

import httptools

READ_BYTES = 1 << 18
MAX_BODY_BYTES = 32 << 20


def http_get(
    url: str, headers: Mapping[str, str], *, timeout_s: float, verify_tls: bool = True, ca_file: str | None = None
) -> tuple[int, bytes]:
    """Return status and body. Raises OSError: refused, timed out, TLS error, not HTTP, truncated or too long."""
    server = _split(url)
    fields = {"Host": server.authority, "Accept": "*/*", "Connection": "close", **headers}
    if any("\r" in value or "\n" in value for value in fields.values()):
        raise ConnectionError("a header value contains a line break")
    lines = [f"GET {server.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    address: Any = (server.host.encode(), server.port)  # for a str, Python imports its IDNA codec, which takes 6 ms
    with socket.create_connection(address, timeout_s) as connection:
        if server.tls:
            with _tls(connection, server.host, verify_tls, ca_file) as encrypted:
                return _exchange(encrypted, "\r\n".join(lines).encode())
        return _exchange(connection, "\r\n".join(lines).encode())


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


class _Response:
    """Receives the parser's callbacks and collects the body of one response."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False
        self.ends_with_connection = True  # without a header that gives the body's length, closing ends the body

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self.ends_with_connection = False

    def on_body(self, data: bytes) -> None:
        self.body += data
        if len(self.body) > MAX_BODY_BYTES:
            raise ConnectionError(f"the response body exceeds {MAX_BODY_BYTES} bytes")

    def on_message_complete(self) -> None:
        self.complete = True


def _exchange(connection: socket.socket, request: bytes) -> tuple[int, bytes]:
    response = _Response()
    parser: Any = httptools.HttpResponseParser(response)
    connection.sendall(request)
    try:
        while not response.complete and (data := connection.recv(READ_BYTES)):
            parser.feed_data(data)
    except httptools.HttpParserError as error:
        raise ConnectionError(f"not a valid HTTP response ({error.__context__ or error})") from error
    status: int = parser.get_status_code()
    if not response.complete and not (status and response.ends_with_connection):
        raise ConnectionError("the connection was closed before the response was complete")
    return status, bytes(response.body)


def _tls(connection: socket.socket, host: str, verify: bool, ca_file: str | None) -> socket.socket:
    import ssl  # start-up time: 10 ms, only needed for servers behind TLS

    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection, server_hostname=host)
