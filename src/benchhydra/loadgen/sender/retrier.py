"""Sends failed requests again, as the clients of OpenAI's libraries do: after a wait that doubles with each try.

A server that asks for another wait (``Retry-After``) gets it, if it is at most a minute.
"""

from __future__ import annotations

import asyncio
import random
from array import array
from collections.abc import Callable

from benchhydra.client.connection import Connection
from benchhydra.loadgen.client_behaviour import Retries
from benchhydra.records import NEVER, Status

#: Failures that another try may mend, if no text has come yet.
RETRIED = (Status.REFUSED, Status.RESET, Status.TIMEOUT, Status.HTTP_5XX)
#: Refusals that another try may mend: timeout, conflict, too many requests.
RETRIED_4XX = ("HTTP 408", "HTTP 409", "HTTP 429")
MOST_BACKOFF_S = 8.0
#: A wait doubles so often at most: 2.0**1024 is an OverflowError.
MOST_DOUBLINGS = 64
#: A longer wait that a server asks for is ignored.
MOST_RETRY_AFTER_S = 60.0
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

    def retry(self, row: int, sent_ns: int, status: Status | None, error: str) -> bool:
        """Plan another try of a request that never got a connection, and waited for one since ``sent_ns``."""
        if not self._is_mendable(row, status, error):
            return False
        self._wait(row, sent_ns, None)
        return True

    def retry_answered(self, connection: Connection) -> bool:
        """Plan another try of a connection's request, if its answer has failed in a way that this may mend."""
        row, response = connection.row, connection.response
        if response.chunks or not self._is_mendable(row, response.status, response.error):
            return False
        self._wait(row, connection.sent_ns, connection.retry_after_s())
        return True

    def _is_mendable(self, row: int, status: Status | None, error: str) -> bool:
        mendable = status in RETRIED or (status is Status.HTTP_4XX and error.startswith(RETRIED_4XX))
        return mendable and self._tries[row] <= self._retries.count

    def _wait(self, row: int, sent_ns: int, retry_after_s: float | None) -> None:
        self._first_sent_ns.setdefault(row, sent_ns)
        if retry_after_s is not None and 0 < retry_after_s <= MOST_RETRY_AFTER_S:
            wait_s = retry_after_s
        else:
            wait_s = backoff_s(self._retries, row, self._tries[row])
        self._waits[row] = self._loop.call_later(wait_s, self._end_wait, row)

    def first_sent_ns(self, row: int, sent_ns: int) -> int:
        """Return when the first try of a request was sent, whose last one was sent at ``sent_ns``."""
        return self._first_sent_ns.get(row, sent_ns)

    def waiting_since(self, latest_ns: int) -> list[int]:
        """Return the rows that wait for another try, and whose first one was sent at ``latest_ns`` or before."""
        return [row for row in self._waits if self._first_sent_ns[row] <= latest_ns]

    def stop_waiting(self, row: int) -> int:
        """End the wait of a request that is not sent again. Returns when the first try was sent."""
        self._waits.pop(row).cancel()
        return self.end(row, NEVER)

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


def backoff_s(retries: Retries, row: int, tries: int) -> float:
    """Return the client's own wait after a request's try number ``tries`` (from 1)."""
    doublings = min(tries - 1, MOST_DOUBLINGS)
    longest_s: float = min(MOST_BACKOFF_S, retries.backoff_s * 2.0**doublings)
    seed = (retries.first + row * retries.step) << 8 | tries
    return longest_s * (1 - JITTER * random.Random(seed).random())
