"""Single HTTP requests outside the load: health, version, models, cache resets, hub look-ups.

No redirects (a header with a key must not reach another host), no proxies, and a deadline for each whole exchange, also
for a server that sends a byte a second. ``http.client`` has none, and takes 25 ms to import.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httptools

from benchhydra import __version__
from benchhydra.errors import ConfigError
from benchhydra.redaction import excerpt

#: Of all requests, those of the load too; a header of the user replaces it. Gateways refuse requests without any.
USER_AGENT = f"benchhydra/{__version__}"
MAX_BODY = 32 * 2**20
_READ_BYTES = 1 << 18
DEFAULT_API_PATH = "/v1"
#: The end of a base URL's path that is the API's own path, as clients of OpenAI take it.
API_VERSION = re.compile(r"/v\d[\w.-]*(/openai)?$")


@dataclass(frozen=True, kw_only=True)
class HttpResponse:
    """A server's answer: its status, its body, and where a redirect leads to."""

    status: int
    body: bytes
    location: str = ""

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx. This does not prove that the server did what was asked."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the body as JSON; None if it is not JSON."""
        try:
            return json.loads(self.body.removeprefix(b"\xef\xbb\xbf"))
        except (ValueError, RecursionError):
            return None


def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_s: float = 10.0,
    verify_tls: bool = True,
    ca_file: str | None = None,
) -> HttpResponse:
    """Send one request and return the response. timeout_s: for the whole exchange, from connecting to the last byte.

    Raises OSError: refused, timed out, reset, TLS error, not HTTP, truncated or too long.
    """
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if tls else 80)
    target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    own = {
        "Host": parts.netloc.rpartition("@")[2],
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    if body or method != "GET":
        own["Content-Length"] = str(len(body))
    request = _encode(f"{method} {target} HTTP/1.1", with_user_agent(own, headers or {})) + body
    deadline_s = time.monotonic() + timeout_s
    with socket.create_connection((host, port), timeout_s) as connection:
        if not tls:
            return _exchange(connection, request, deadline_s)
        connection.settimeout(_remaining_s(deadline_s))
        with _encrypt(connection, host, verify_tls, ca_file) as encrypted:
            return _exchange(encrypted, request, deadline_s)


def with_user_agent(own: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
    """Return a request's own headers with User-Agent, then ``headers``, which replace them whatever their case."""
    names = {name.lower() for name in headers}
    defaults = {**own, "User-Agent": USER_AGENT}
    return {name: value for name, value in defaults.items() if name.lower() not in names} | dict(headers)


def describe_redirect(location: str, endpoint: str) -> str:
    """Return where a redirect of an endpoint (``/v1/completions``) leads to, and what to type to go there."""
    parts = urlsplit(location)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    root = plain if parts.netloc else f"http://HOST:PORT{plain}"
    for path in (endpoint, endpoint.removeprefix(DEFAULT_API_PATH)):
        root = root.removesuffix("/").removesuffix(path)
    return f"redirects to {excerpt(plain, 200)}, which is not followed: engine.base_url={excerpt(root, 200)}"


def check_base_url(field: str, url: str) -> str:
    """Return the URL without a trailing slash. Raises ConfigError if it is not an HTTP server's URL.

    field: the config key that errors name.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(f"{field}={url!r} is not a server's URL", hint=f"{field}=http://HOST:PORT")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"{field} must have only a scheme, host, port and path", hint="keys: engine.api_key_env=VARIABLE"
        )
    return url.rstrip("/")


def split_api_path(base_url: str, path: str | None) -> tuple[str, str]:
    """Return a server's URL and the path below it of its OpenAI-compatible API: ("http://host", "/v1").

    path: may have a query, which is sent with every request; a URL that already ends in the path is not extended by it.
    None: the URL's own end if that is a version (/v1, /api/v3, /v1beta/openai), else /v1.
    """
    parts = urlsplit(base_url)
    if path is None:
        version = API_VERSION.search(parts.path)
        path = version[0] if version else DEFAULT_API_PATH
    plain, question_mark, query = path.partition("?")
    plain = f"/{plain.strip('/')}" if plain.strip("/") else ""
    root = parts._replace(path=parts.path.removesuffix(plain)).geturl()
    return root, plain + question_mark + query


def below_api_path(api_path: str, endpoint: str) -> str:
    """Return the path of an endpoint (``/models``) below an API's path; a query of the API's path stays at the end."""
    path, question_mark, query = api_path.partition("?")
    return path + endpoint + question_mark + query


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
    if any(ord(character) < 32 for line in lines for character in line) or " " in first_line[:-9].partition(" ")[2]:
        raise ConnectionError("the URL or a header contains a line break, a control character or a space")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _exchange(connection: socket.socket, request: bytes, deadline_s: float) -> HttpResponse:
    receiver = _Receiver()
    received_bytes = 0
    connection.settimeout(_remaining_s(deadline_s))
    connection.sendall(request)
    try:
        while not receiver.complete and (data := connection.recv(_READ_BYTES)):
            received_bytes += len(data)
            if received_bytes > MAX_BODY:
                raise ConnectionError(f"the response exceeds {MAX_BODY} bytes")
            receiver.parser.feed_data(data)
            connection.settimeout(_remaining_s(deadline_s))
    except httptools.HttpParserError as error:
        raise ConnectionError(f"not a valid HTTP response ({error.__context__ or error})") from error
    if not receiver.complete and not (receiver.status >= 200 and receiver.ends_with_connection):
        raise ConnectionError("the connection was closed before the response was complete")
    return HttpResponse(status=receiver.status, body=bytes(receiver.body), location=receiver.location)


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
