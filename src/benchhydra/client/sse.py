"""Server-sent events: splits the bodies of a stream into lines and events, wherever the bodies are cut.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

from typing import NamedTuple

FIELD = b"data: "


class ServerEvent(NamedTuple):
    """The data of an event, and its name ("" for most)."""

    data: bytes
    name: bytes


def is_event(body: bytes) -> bool:
    """Return whether a body is exactly one event with one line of data, as most are."""
    return body.startswith(FIELD) and body.endswith(b"\n\n") and body.find(b"\n") == len(body) - 2 and b"\r" not in body


class EventSplitter:
    """Splits bodies into events. ``between``: whether only complete events were received so far.

    ``line``: the start of an incomplete line; ``junk``: the first line that belongs to no event.
    """

    __slots__ = ("_after_cr", "_data", "_name", "between", "junk", "line")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start a new stream."""
        self.between = True
        self.line = self.junk = b""
        self._name = b""
        self._data: list[bytes] = []
        self._after_cr = False

    def split(self, body: bytes) -> list[ServerEvent]:
        """Return the events that end in this body. Lines end with CR LF, LF or CR, also across bodies."""
        if self._after_cr:
            body = body.removeprefix(b"\n")
        self._after_cr = body.endswith(b"\r")
        lines = (self.line + body).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self.line = lines.pop()
        events = [event for line in lines if (event := self._take_line(line)) is not None]
        self.between = not (self.line or self._data or self._name or self._after_cr)
        return events

    def drop_line(self) -> None:
        """Drop the start of a line that has become too long."""
        self.line = b""
        self.between = not (self._data or self._name or self._after_cr)

    def finish(self) -> bytes:
        """End the stream. Returns the data of a last event without its empty line, which is not a valid event."""
        data = self.line.partition(b":")[2] or b"".join(self._data)
        if self.line and not self._data:
            self._take_line(self.line)  # it may be junk
        return data

    def _take_line(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._name = value.removeprefix(b" ")
        elif field not in (b"", b"id", b"retry"):
            self.junk = self.junk or line[:100]
        return None

    def _dispatch(self) -> ServerEvent | None:
        data, name = self._data, self._name
        self._data, self._name = [], b""
        return ServerEvent(b"\n".join(data), name) if data else None
