"""Takes requests out of the store shortly before they are sent, if that takes long.

A turn of a session is encoded, and a prompt of 100,000 tokens is copied, when the request is taken. Between the timer
and the system call, this would make the request late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

#: Requests that are held at most: memory is bounded also if rows that are due sooner keep being planned.
MOST_HELD = 16


class EarlyRequests:
    """The bytes of the requests that are sent next. take: returns those of any request, once per request."""

    def __init__(self, take: Callable[[int], bytes]) -> None:
        self._take_from_store = take
        self._bytes: dict[int, bytes] = {}

    def prepare(self, rows: Sequence[int]) -> None:
        """Take requests that the pacing has planned; those that find no room are taken when they are sent."""
        for row in rows:
            if row not in self._bytes and len(self._bytes) < MOST_HELD:
                self._bytes[row] = self._take_from_store(row)

    def take(self, row: int) -> bytes:
        """Return the bytes of a request. Call it once per request."""
        request = self._bytes.pop(row, None)
        return self._take_from_store(row) if request is None else request
