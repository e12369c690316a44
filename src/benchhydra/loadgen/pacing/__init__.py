"""Pacing: decides which request is sent next, and when.

A pacing is pure: it never waits and never reads a clock; the sender waits and calls it. Rows are the requests of a
load, numbered from 0. A user's load shape may return its own pacing (``LoadShape.pacing``), for example one in which a
request waits for the answer of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from benchhydra.errors import ConfigError
from benchhydra.records import NEVER

Seconds = npt.NDArray[np.float64]


class Pacing:
    """Base of all pacings. The sender calls ``start`` once, and then ``next``:

    - at the time ``wake_ns`` (NEVER: only the end of a request can release another one);
    - whenever a request has ended, successfully or not.

    For each row that ``next`` returns, it calls ``scheduled_ns`` and ``ready_ns`` before it calls ``next`` again.
    send_times_s: earliest send times, seconds from the start, shape (n,). max_in_flight: maximum number of requests in
    flight, or None.
    """

    #: Send times do not depend on answers.
    open_loop: ClassVar[bool] = False
    #: Several client processes can share the load: ``split`` works.
    divisible: ClassVar[bool] = False

    def __init__(self, send_times_s: Seconds, max_in_flight: int | None = None) -> None:
        self.send_times_s = send_times_s
        self.max_in_flight = max_in_flight
        self.wake_ns = NEVER
        #: How each row has ended (a ``Status``), NEVER until then. The sender keeps it up to date.
        self.statuses: Sequence[int] = ()
        #: Number of rows that will never be released.
        self.skipped = 0

    def start(self, start_ns: int) -> None:
        """Start the load at ``start_ns`` (CLOCK_MONOTONIC): set ``wake_ns`` to when ``next`` is called first."""
        raise NotImplementedError

    def next(self, now_ns: int, finished: int = NEVER) -> Sequence[int]:
        """Return the rows to send now, in order, and update ``wake_ns``. finished: the row that has ended, or NEVER."""
        raise NotImplementedError

    def scheduled_ns(self, row: int) -> int:
        """Return the scheduled send time of a row: latencies "from the scheduled time" and lateness count from here."""
        raise NotImplementedError

    def ready_ns(self, row: int) -> int:
        """Return when a row could be sent: later than scheduled if it had to wait for ``max_in_flight``.

        The client's own lateness counts from here.
        """
        return self.scheduled_ns(row)

    def upcoming(self) -> Sequence[int]:
        """Return unreleased rows that are probably next, at ``wake_ns`` or soon after it; () if that is not known."""
        return ()

    def split(self, parts: int) -> list[Pacing]:
        """Return at most ``parts`` pacings; the p-th of n paces the rows p, p + n, p + 2n, ...

        Raises ConfigError if the load cannot be split.
        """
        if parts > 1:
            raise ConfigError(
                f"{type(self).__name__} paces a load in one client process, not in {parts}", hint="load.processes=1"
            )
        return [self]


def split_limit(max_in_flight: int | None, parts: int) -> list[int | None]:
    """Split ``max_in_flight`` evenly into at most ``parts`` limits of at least 1."""
    if max_in_flight is None:
        return [None] * parts
    parts = min(parts, max_in_flight)
    return [max_in_flight // parts + (part < max_in_flight % parts) for part in range(parts)]
