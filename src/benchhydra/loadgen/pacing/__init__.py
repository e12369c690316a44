"""Pacing: the only thing that decides which request is sent next, and when.

A pacing is pure: it never waits and never reads a clock. The sender does the waiting, and asks it. Rows are the
requests of a load, numbered from 0. A load shape of a user's own may bring a pacing of its own
(``LoadShape.pacing``), for example one in which a request waits for another one's answer.
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

    - when the time ``wake_ns`` has come (NEVER: only the end of a request can release another one);
    - each time a request has ended, well or not.

    Of each row that ``next`` returns it asks ``scheduled_ns`` and ``ready_ns`` at once, before it calls ``next`` again.
    send_times_s: when requests are planned to be sent at the earliest, seconds from the start, shape (n,).
    max_in_flight: the most requests that are under way at once, or None.
    """

    #: Send times do not depend on answers.
    open_loop: ClassVar[bool] = False
    #: Several client processes can share the load: ``split`` works.
    divisible: ClassVar[bool] = False

    def __init__(self, send_times_s: Seconds, max_in_flight: int | None = None) -> None:
        self.send_times_s = send_times_s
        self.max_in_flight = max_in_flight
        self.wake_ns = NEVER

    def start(self, start_ns: int) -> None:
        """The load begins at this time of CLOCK_MONOTONIC. Sets ``wake_ns`` to the first time to be asked."""
        raise NotImplementedError

    def next(self, now_ns: int, finished: int = NEVER) -> Sequence[int]:
        """The rows to send now, in order, and a new ``wake_ns``. finished: the row that has ended, if one has."""
        raise NotImplementedError

    def scheduled_ns(self, row: int) -> int:
        """When the load wanted a row to be sent: latency with the schedule, and the rows' lateness, count from here."""
        raise NotImplementedError

    def ready_ns(self, row: int) -> int:
        """When a row could have been sent: later than scheduled where it had to wait for room.

        The client's own lateness counts from here.
        """
        return self.scheduled_ns(row)

    def split(self, parts: int) -> list[Pacing]:
        """Pacings of this load's every ``parts``-th requests from 0, 1, ... on; fewer where it allows fewer.

        Raises ConfigError where it cannot be split.
        """
        if parts > 1:
            raise ConfigError(
                f"{type(self).__name__} paces a load in one client process, not in {parts}", hint="load.processes=1"
            )
        return [self]


def split_limit(max_in_flight: int | None, parts: int) -> list[int | None]:
    """The limits of the parts of a load, as even as possible; fewer parts where there are fewer requests allowed."""
    if max_in_flight is None:
        return [None] * parts
    parts = min(parts, max_in_flight)
    return [max_in_flight // parts + (part < max_in_flight % parts) for part in range(parts)]
