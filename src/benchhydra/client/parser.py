"""One HTTP answer as it comes in: bytes in, facts out. Pure: no socket, no clock, any split of them gives the same.

httptools frames HTTP; SSE is split here. The first content event of a stream is parsed as JSON, and its bytes up to the
opening quote of the text are remembered. A later body that begins with the same bytes, has a text, and is exactly one
event (its only line feeds are the two that end it, right after a brace) is one more content chunk and is not parsed.
Where the packet begins with such bodies as whole HTTP chunks of the right size, not even httptools sees them: that is
what most packets are. Everything else takes the slow path. So the JSON of most chunks is never looked at: that one is
broken behind the beginning of its text is not noticed.
"""

from __future__ import annotations

import re
from typing import Any

import httptools

from benchhydra.client.events import (
    BROKEN_JSON,
    MAX_ERROR,
    decode,
    error_text,
    is_error,
    message_of,
    text_of,
    texts_of,
    usage_of,
)
from benchhydra.records import Status

_QUOTE = 34
_MAX_BODY = 64 << 20  # of what is kept until it is whole: nothing larger comes from a completion server
_TEXT_VALUE = re.compile(rb'"(?:text|content|reasoning_content|reasoning)"\s*:\s*"')
_DONE = b"[DONE]"
_END = b"}\n\n\r\n"  # of an HTTP chunk that is one whole event
#: Whole HTTP chunks of this length and more are left to httptools.
_MAX_CHUNK = 4096
_NO_LINE = bytes(_MAX_CHUNK)  # longer than what it is compared with: never equal


def _size_line(length: int) -> bytes:
    """The size line of an HTTP chunk that has ``length`` bytes with it and with the line end behind its body."""
    for digits in range(1, 4):
        body = length - digits - 4
        if body >= 0 and len(f"{body:x}") == digits:
            return b"%x\r\n" % body
    return _NO_LINE


_SIZE_LINES = [_size_line(length) for length in range(_MAX_CHUNK)]


class Answer:
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
        self._prefix = b""
        self._skip = 0  # length of the prefix; 0: not learnt
        self._last = b""  # the last content event that was not parsed: usage may be in it
        self._line = b""
        self._data: list[bytes] = []
        self._event = b""
        self._after_cr = self._done = False
        self._between = True  # at the border of two events
        self._at_border = False  # of two HTTP chunks
        self._events = 0
        self._junk = b""

    def feed(self, data: bytes) -> int:
        """Take what came from the socket. Returns the number of chunks with text in it."""
        before = self.chunks
        if self._skip and self._at_border and self._between:
            data = self._skip_whole(data)
            if not data:
                return self.chunks - before
        self._started = True
        try:
            self._http.feed_data(data)
        except httptools.HttpParserError as error:
            self._not_http(data, error)
        return self.chunks - before

    def _skip_whole(self, data: bytes) -> bytes:
        """Count the content events at the beginning that are whole HTTP chunks. Returns what comes after them."""
        prefix, skip = self._prefix, self._skip
        start = last = 0
        while start < len(data):
            end = data.find(b"\n", start + skip) + 4  # the first one behind the prefix, which has none
            if not start < end < start + _MAX_CHUNK:
                break
            line = _SIZE_LINES[end - start]
            text = start + len(line) + skip
            if not (
                data.startswith(line, start)
                and data.startswith(prefix, start + len(line))
                and data.startswith(_END, end - 5)
                and data[text] != _QUOTE
                and data.find(b"\r", text) == end - 2
            ):
                break
            self.chunks += 1
            last, start = start, end
        if not start:
            return data
        self._last = data[last:start]
        return data[start:]

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

    def on_chunk_header(self) -> None:
        self._at_border = False

    def on_chunk_complete(self) -> None:
        self._at_border = True

    def on_body(self, body: bytes) -> None:
        if (
            self._skip
            and body.startswith(self._prefix)
            and body.endswith(b"}\n\n")  # so it is longer than the prefix
            and body[self._skip] != _QUOTE
            and body.find(b"\n") == len(body) - 2
            and b"\r" not in body
            and self._between
        ):
            self.chunks += 1
            self._last = body
        elif self._plain:
            self._keep(body)
        elif not self.complete:
            self._split(body)

    def on_message_complete(self) -> None:
        if self.complete:  # another answer that nobody asked for
            self.keep_alive = False
            return
        if 100 <= self.http_status < 200:
            self.http_status, self._framed = 0, False
            return
        self.complete, self.keep_alive = True, bool(self._http.should_keep_alive())
        self._skip = 0
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
        before = self.chunks
        self._take(data)
        if self.chunks > before:
            self._last = b""
            self._learn(data)

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

    def _learn(self, data: bytes) -> None:
        """Remember what content events begin with: proven by putting a mark there and finding it in the text."""
        self._skip = 0
        found = None if self._keep_text else _TEXT_VALUE.search(data)
        if found is None or b"\n" in data:
            return
        head = data[: found.end()]
        marked = decode(head + b"\\u0001" + data[found.end() :])
        if any(text_of(choice).startswith("\x01") for choice in marked["choices"]):
            self._prefix = b"data: " + head
            self._skip = len(self._prefix)

    def _fail(self, status: Status, text: str) -> None:
        """The first thing that is wrong is the class of the request."""
        if self.status is None:
            self.status, self.error = status, text[:MAX_ERROR]
