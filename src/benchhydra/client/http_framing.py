"""HTTP/1.1 framing with httptools: status, bodies, end of the message, and whether the connection can be reused."""

from __future__ import annotations

from typing import Any, Protocol

import httptools

from benchhydra.client.response import Response
from benchhydra.client.retry_after import RETRY_HEADERS
from benchhydra.records import Status
from benchhydra.redaction import excerpt

LOCATION = b"location"
#: Headers whose values are kept.
_KEPT_HEADERS = RETRY_HEADERS | {LOCATION}
_LENGTH_HEADERS = (b"content-length", b"transfer-encoding")
#: Limit of what is read without a body: a head, the extension of a chunk, trailers.
MAX_HEAD_BYTES = 4 << 20


#: What helps with servers that close a connection after an answer without saying so, as llama.cpp's of 2026-10 does.
KEEP_ALIVE_HINT = (
    "the server had answered on it before (engine.keep_alive=false, with engine=attach, command or llamacpp, "
    "opens a connection for each request)"
)


class Body(Protocol):
    """Receives the parts of a message's body."""

    def take(self, body: bytes) -> None: ...


class BodyReader(Protocol):
    """Chooses the receiver of a message's body."""

    def body_for(self, http_status: int) -> Body:
        """Return the receiver of the body of a message with this status."""

    def finish(self, http_status: int) -> None:
        """Called at the end of the message."""


class HttpFraming:
    """Frames one answer after another on a connection (``begin``). Its ``on_...`` methods are httptools' callbacks.

    ``headers``: the target of a redirect, and the wait before another try, by name in lower case.
    """

    def __init__(self, response: Response, reader: BodyReader) -> None:
        self._response = response
        self._reader = reader
        self._http: Any = httptools.HttpResponseParser(self)
        self.headers: dict[bytes, bytes] = {}
        self._http_status = 0
        self.begin()

    def begin(self) -> None:
        """Prepare for the next answer."""
        self._is_reused = self._http_status > 0  # the connection has had an answer before
        self._http_status = self._head_bytes = 0
        self._started = self._has_length = False
        if self.headers:
            self.headers = {}
        self._body: Body | None = None

    def feed(self, data: bytes) -> None:
        """Process bytes from the socket."""
        self._started = True
        self._head_bytes += len(data)
        try:
            self._http.feed_data(data)
        except httptools.HttpParserError as error:
            reason = str(error.__context__ or error) or type(error).__name__
            if not self._response.complete:
                self._response.fail(Status.MALFORMED, f"not HTTP ({reason}): {excerpt(data, 100).encode()!r}")
            self._response.close()
        if self._head_bytes > MAX_HEAD_BYTES and not self._response.complete:
            self._response.fail(Status.MALFORMED, f"headers or trailers of more than {MAX_HEAD_BYTES >> 20} MiB")
            self._response.close()

    def end(self, error: str) -> None:
        """Process the end of the connection. error: the system error as text; "": the server closed it normally."""
        if self._response.complete:
            return
        if self._http_status and not self._has_length and not error:
            self.on_message_complete()  # a body without a length ends with the connection
        else:
            where = "in the middle of the answer" if self._started else "before any answer"
            hint = f"; {KEEP_ALIVE_HINT}" if self._is_reused and not self._started else ""
            self._response.fail(Status.RESET, f"connection {error or 'closed'} {where}{hint}")
        self._response.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _LENGTH_HEADERS:
            self._has_length = True
        elif name in _KEPT_HEADERS:
            self.headers[name] = value

    def on_headers_complete(self) -> None:
        if not self._response.complete:
            self._http_status = self._http.get_status_code()
            self._body = self._reader.body_for(self._http_status)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        if self._body is not None:
            self._body.take(body)

    def on_message_complete(self) -> None:
        response = self._response
        if response.complete:  # a second answer to one request
            response.keep_alive = False
            return
        if 100 <= self._http_status < 200:
            self._http_status, self._has_length = 0, False
            return
        response.complete, response.keep_alive = True, bool(self._http.should_keep_alive())
        self._body = None
        self._reader.finish(self._http_status)
