"""One HTTP answer as it comes in: bytes in, facts out. Pure: no socket, no clock, any split of them gives the same.

httptools frames HTTP; SSE is split here. The first content event of a stream is parsed as JSON (unless it is
that of another stream, but for id and text), and its shape is remembered. Two quicker ways follow from it:

- A packet that is one whole HTTP chunk of that shape is one more content chunk, and httptools does not see it: most
  packets are that, and others begin with several of them. So is a body of that shape. Its text is known to be a JSON
  string.
- A later body that only begins in the same way, has a text, and is exactly one event is one more content chunk too.
  Its JSON is not looked at behind the beginning of the text, so what is broken there is not noticed.

Everything else takes the slow path.
"""

from __future__ import annotations

from typing import Any

import httptools

from benchhydra.client.chunk_template import FIELD, ChunkTemplate, is_event, known_template, template_of
from benchhydra.client.events import (
    BROKEN_JSON,
    MAX_ERROR,
    decode,
    error_text,
    is_error,
    message_of,
    texts_of,
    usage_of,
)
from benchhydra.records import Status

_MAX_BODY = 64 << 20  # of what is kept until it is whole: nothing larger comes from a completion server
_DONE = b"[DONE]"
_END = b"\n\n\r\n"  # of an HTTP chunk that ends with an event
_BEFORE_CONTENT = 2  # events that a stream begins with: the role of a chat, and the first content


class ResponseParser:
    """The answer to one request, then to the next one on the same connection (after ``begin``).

    ``feed`` returns how many chunks with text came: role-only chunks and empty texts are none. ``complete``: the
    answer ended, well or not. ``status`` is None until something is wrong with what was received; ``error`` says what.
    ``prompt_tokens`` and ``output_tokens`` are the server's usage (-1: not reported).
    """

    def __init__(self, *, stream: bool = True, keep_text: bool = False) -> None:
        self._stream = stream
        self._keep_text = keep_text
        self._http: Any = httptools.HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Forget the last answer; the next one comes on the same connection."""
        self.chunks = 0
        self.complete = self.keep_alive = False
        self.status: Status | None = None
        self.error = ""
        self.prompt_tokens = self.output_tokens = -1
        self.texts: list[str] = []
        self.http_status = 0
        self._started = self._framed = False
        self._plain = not self._stream  # the body is one JSON document
        self._body = bytearray()
        self._shape: ChunkTemplate | None = None  # of the content events, once one was parsed
        self._last = b""  # the last content event that was not parsed: usage may be in it
        self._line = b""
        self._data: list[bytes] = []
        self._event = b""
        self._after_cr = self._done = False
        self._between = True  # at the border of two events
        self._next: ChunkTemplate | None = None  # the shape, at the border of two HTTP chunks
        self._events = 0
        self._junk = b""

    def feed(self, data: bytes) -> int:
        """Take what came from the socket. Returns the number of chunks with text in it."""
        return 1 if self.is_next(data) else self.take(data)

    def is_next(self, data: bytes) -> bool:
        """Take a packet that is one chunk of the known shape, and nothing else: most are. Others are for ``take``."""
        if self._next is None or not self._next.is_chunk(data):
            return False
        self.chunks += 1
        return True

    def take(self, data: bytes) -> int:
        """What ``feed`` does with packets that are no ``is_next``."""
        before = self.chunks
        self._started = True
        rest = self._count(self._begun(data))
        if rest:
            self._frame(rest)
        return self.chunks - before

    def _begun(self, data: bytes) -> bytes:
        """Take the events up to the first one with content, of a packet that may hold many. Returns what is left."""
        for _ in range(_BEFORE_CONTENT):
            if self.chunks or self._plain:
                break
            cut = data.find(_END) + len(_END)
            if not len(_END) <= cut < len(data):
                break
            self._frame(data[:cut])
            data = data[cut:]
        return data

    def _count(self, data: bytes) -> bytes:
        """Count the chunks of the known shape that a packet begins with. Returns what is left."""
        if self._next is None:
            return data
        chunks, length = self._next.leading_chunks(data)
        self.chunks += chunks
        return data[length:]

    def _frame(self, data: bytes) -> None:
        try:
            self._http.feed_data(data)
        except httptools.HttpParserError as error:
            self._not_http(data, error)
        self._next = self._shape if self._between and data.endswith(_END) else None

    def end(self, error: str = "") -> None:
        """The connection is gone. ``error`` is the system's word for it; empty: the server closed it in order."""
        if self.complete:
            return
        if self.http_status and not self._framed and not error:
            self.on_message_complete()  # a body without length ends with its connection
        else:
            where = "in the middle of the answer" if self._started else "before any answer"
            self._fail(Status.RESET, f"connection {error or 'closed'} {where}")
        self.complete, self.keep_alive = True, False

    def _not_http(self, data: bytes, error: Exception) -> None:
        if not self.complete:
            reason = str(error.__context__ or error) or type(error).__name__
            self._fail(Status.MALFORMED, f"not HTTP ({reason}): {data[:100]!r}")
        self.complete, self.keep_alive = True, False

    # Called by httptools.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._framed = True

    def on_headers_complete(self) -> None:
        if not self.complete:
            self.http_status = self._http.get_status_code()
            self._plain = not self._stream or self.http_status != 200

    def on_body(self, body: bytes) -> None:
        shape = self._shape
        if shape is not None and self._between and body.startswith(shape.prefix):
            if shape.is_body(body):
                self.chunks += 1
                return
            if shape.is_like(body):
                self.chunks += 1
                self._last = body
                return
        if self._plain:
            self._keep(body)
        elif self.complete:
            return
        elif self._between and not self._done and is_event(body):
            self._dispatch(body[len(FIELD) : -2])
        else:
            self._split(body)

    def on_message_complete(self) -> None:
        if self.complete:  # another answer that nobody asked for
            self.keep_alive = False
            return
        if 100 <= self.http_status < 200:
            self.http_status, self._framed = 0, False
            return
        self.complete, self.keep_alive = True, bool(self._http.should_keep_alive())
        self._shape = None
        if self.http_status != 200:
            self._refused()
        elif not self._plain:
            self._ended()
        elif self.status is None:
            self._take(bytes(self._body))

    # A body that is one document.

    def _keep(self, body: bytes) -> None:
        if len(self._body) + len(body) <= _MAX_BODY:
            self._body += body
        else:
            self._fail(Status.MALFORMED, f"an answer of more than {_MAX_BODY >> 20} MiB")

    def _refused(self) -> None:
        kind = {4: Status.HTTP_4XX, 5: Status.HTTP_5XX}.get(self.http_status // 100, Status.MALFORMED)
        self._fail(kind, f"HTTP {self.http_status}: {message_of(bytes(self._body))}")

    # A body that is a stream of events.

    def _split(self, body: bytes) -> None:
        """Cut into lines that end with CR LF, LF or CR, over any border of bodies."""
        if self._after_cr:
            body = body.removeprefix(b"\n")
        self._after_cr = body.endswith(b"\r")
        lines = (self._line + body).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._line = lines.pop()
        for line in lines:
            self._take_line(line)
        if len(self._line) > _MAX_BODY:
            self._fail(Status.MALFORMED, f"a line of more than {_MAX_BODY >> 20} MiB")
            self._line = b""
        self._between = not (self._line or self._data or self._event or self._after_cr)

    def _take_line(self, line: bytes) -> None:
        if not line:
            data, self._data = self._data, []
            if data and not self._done:
                self._dispatch(b"\n".join(data))
            self._event = b""
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._event = value.removeprefix(b" ")
        elif name not in (b"", b"id", b"retry"):
            self._junk = self._junk or line[:100]

    def _dispatch(self, data: bytes) -> None:
        self._events += 1
        if data.strip() == _DONE:
            self._done = True
            return
        if not (self.chunks or self._event or self._keep_text):
            self._shape = known_template(data)
            if self._shape is not None:
                self.chunks += 1
                return
        before = self.chunks
        self._take(data)
        if self.chunks > before:
            self._last = b""
            self._shape = None if self._keep_text else template_of(data)

    def _ended(self) -> None:
        """The body is over. A last event without its empty line is dropped, as SSE says, but [DONE] counts."""
        rest = self._line.partition(b":")[2] or b"".join(self._data)
        if self._last:
            self._usage_of(self._last)
        if self._done or rest.strip() == _DONE:
            return
        if self._line and not self._data:
            self._take_line(self._line)
        if self._junk:
            self._fail(Status.MALFORMED, f"not an event stream: {self._junk!r}")
        self._fail(Status.EARLY_END, f"the answer ended without [DONE] after {self.chunks} chunks")

    # The meaning of an event or document.

    def _take(self, data: bytes) -> None:
        try:
            event = decode(data)
        except BROKEN_JSON as error:
            self._fail(Status.MALFORMED, f"not JSON ({error}): {data[:100]!r}")
            return
        if not isinstance(event, dict):
            self._fail(Status.MALFORMED, f"not an object: {data[:100]!r}")
        elif is_error(event) or self._event == b"error":
            self._fail(Status.ERROR_EVENT, error_text(event) or data[:MAX_ERROR].decode(errors="replace"))
        else:
            self._take_usage(event)
            self._take_texts(texts_of(event))

    def _take_texts(self, texts: list[str]) -> None:
        if texts:
            self.chunks += 1
            if self._keep_text:
                self.texts += texts

    def _take_usage(self, event: Any) -> None:
        usage = usage_of(event)
        if usage is not None:
            self.prompt_tokens, self.output_tokens = usage
            self._last = b""

    def _usage_of(self, event: bytes) -> None:
        try:
            self._take_usage(decode(event.partition(b":")[2]))
        except BROKEN_JSON as error:
            self._fail(Status.MALFORMED, f"not JSON ({error}): {event[:100]!r}")

    def _fail(self, status: Status, text: str) -> None:
        """The first thing that is wrong is the class of the request."""
        if self.status is None:
            self.status, self.error = status, text[:MAX_ERROR]
