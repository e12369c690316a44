"""Sends failed requests again, as the clients of OpenAI's libraries do: after a wait that doubles with each try."""

from __future__ import annotations

import asyncio
import random
from array import array
from collections.abc import Callable

from benchhydra.loadgen.client_behaviour import Retries
from benchhydra.records import Status

#: Failures that another try may mend, if no text has come yet.
RETRIED = (Status.REFUSED, Status.RESET, Status.TIMEOUT, Status.HTTP_5XX)
#: Refusals that another try may mend: timeout, conflict, too many requests.
RETRIED_4XX = ("HTTP 408", "HTTP 409", "HTTP 429")
MOST_BACKOFF_S = 8.0
#: A wait is shorter by up to this part, so that clients that failed together do not come back together.
JITTER = 0.25


class Retrier:
    """The tries of requests. tries: by row, counted here; ``resend(row)`` is called when a wait is over.

    take: returns a request's bytes, once per request.
    """

    def __init__(
        self, retries: Retries, take: Callable[[int], bytes], tries: array[int], resend: Callable[[int], None]
    ) -> None:
        self._tries = tries
        self._retries = retries
        self._take_once = take
        self._resend = resend
        self._loop = asyncio.get_running_loop()
        self._random = random.Random(len(tries))
        self._bytes: dict[int, bytes] = {}  # of requests that may have to be sent again
        self._first_sent_ns: dict[int, int] = {}
        self._waits: dict[int, asyncio.TimerHandle] = {}

    def take(self, row: int) -> bytes:
        """Return the bytes of a request, for its next try."""
        if row not in self._bytes:
            self._bytes[row] = self._take_once(row)
        return self._bytes[row]

    def begin(self, row: int) -> None:
        """Count a try."""
        self._tries[row] += 1

    def retry(self, row: int, sent_ns: int, status: Status | None, error: str, chunks: int = 0) -> bool:
        """Plan another try of a request, if its last one, sent at ``sent_ns``, failed in a way that this may mend."""
        mendable = status in RETRIED or (status is Status.HTTP_4XX and error.startswith(RETRIED_4XX))
        tries = self._tries[row]
        if not mendable or chunks or tries > self._retries.count:
            return False
        self._first_sent_ns.setdefault(row, sent_ns)
        backoff_s = min(MOST_BACKOFF_S, self._retries.backoff_s * 2 ** (tries - 1))
        wait_s = backoff_s * (1 - JITTER * self._random.random())
        self._waits[row] = self._loop.call_later(wait_s, self._end_wait, row)
        return True

    def end(self, row: int, sent_ns: int) -> int:
        """Forget a request whose last try, sent at ``sent_ns``, has ended. Returns when the first one was sent."""
        self._bytes.pop(row, None)
        return self._first_sent_ns.pop(row, sent_ns)

    def stop(self) -> list[int]:
        """End all waits. Returns the rows that waited."""
        rows = list(self._waits)
        for row in rows:
            self._waits.pop(row).cancel()
        return rows

    def _end_wait(self, row: int) -> None:
        del self._waits[row]
        self._resend(row)
