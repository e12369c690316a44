"""Server-sent events: splits the bodies of a stream into lines and events, wherever the bodies are cut.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

from typing import NamedTuple

from benchhydra.redaction import EXCERPT_SOURCE

FIELD = b"data: "
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_BYTES = 40  # memory of a line, or of a part of one, apart from its bytes


class ServerEvent(NamedTuple):
    """The data of an event, and its name ("" for most)."""

    data: bytes
    name: bytes


def is_event(body: bytes) -> bool:
    """Return whether a body is exactly one event with one line of data, as most are."""
    return body.startswith(FIELD) and body.endswith(b"\n\n") and body.find(b"\n") == len(body) - 2 and b"\r" not in body


class EventSplitter:
    """Splits bodies into events, in time that grows linearly with their size, however they are cut.

    ``between``: whether only complete events were received so far. ``pending_bytes``: memory of the incomplete event.
    ``junk``: the lines that belong to no event, up to a limit.
    """

    __slots__ = (
        *("_after_cr", "_at_start", "_data", "_name", "_part_bytes", "_parts"),
        *("between", "junk", "pending_bytes"),
    )

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start a new stream."""
        self.between = self._at_start = True
        self.junk = self._name = b""
        self.pending_bytes = 0
        self._parts: list[bytes] = []  # of the incomplete line
        self._part_bytes = 0
        self._data: list[bytes] = []
        self._after_cr = False

    @property
    def line(self) -> bytes:
        """The start of an incomplete line."""
        return b"".join(self._parts)

    def split(self, body: bytes) -> list[ServerEvent]:
        """Return the events that end in this body. Lines end with CR LF, LF or CR, also across bodies."""
        if self._after_cr:
            body = body.removeprefix(b"\n")
        self._after_cr = body.endswith(b"\r")
        events: list[ServerEvent] = []
        if b"\n" in body or b"\r" in body:
            lines = (self.line + body).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            self._parts = []
            self.pending_bytes -= self._part_bytes
            self._part_bytes = 0
            body = lines.pop()
            events = [event for line in lines if (event := self._take_line(line)) is not None]
        if body:
            self._parts.append(body)
            self._part_bytes += len(body) + _LINE_BYTES
            self.pending_bytes += len(body) + _LINE_BYTES
        self.between = not (self._parts or self._data or self._name or self._after_cr)
        return events

    def drop(self) -> None:
        """Drop the incomplete event."""
        junk = self.junk
        self.begin()
        self.junk, self._at_start = junk, False

    def finish(self) -> bytes:
        """End the stream. Returns the data of a last event without its empty line, which is not a valid event."""
        line = self.line
        data = line.partition(b":")[2] or b"".join(self._data)
        if line and not self._data:
            self._take_line(line)  # it may be junk
        return data

    def _take_line(self, line: bytes) -> ServerEvent | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
            self.pending_bytes += len(value) + _LINE_BYTES
        elif field == b"event":
            self._name = value.removeprefix(b" ")
        elif field not in (b"", b"id", b"retry") and len(self.junk) < EXCERPT_SOURCE:
            self.junk = (self.junk + b"\n" * bool(self.junk) + line)[:EXCERPT_SOURCE]
        return None

    def _dispatch(self) -> ServerEvent | None:
        data, name = self._data, self._name
        self._data, self._name = [], b""
        self.pending_bytes = 0
        return ServerEvent(b"\n".join(data), name) if data else None
