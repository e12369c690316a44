"""Sessions: each turn of a conversation is sent a think time after the answer before it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from benchhydra.loadgen.pacing import Seconds
from benchhydra.loadgen.pacing.dynamic_schedule import DynamicSchedule
from benchhydra.records import Int32, Int64, Status

_SHORT = int(Status.SHORT)


@dataclass(frozen=True)
class Turns:
    """The turns of all sessions, one session after the other; columns of shape (n,).

    session: its number, from 0; parent: the row of the turn whose answer a turn follows, an earlier row of the same
    session, or -1 for the first turn of a session, its first row; think_ns: from that answer's end to the sending.
    """

    session: Int32
    parent: Int32
    think_ns: Int64

    @classmethod
    def single(cls, count: int) -> Turns:
        """Return ``count`` sessions of one turn."""
        return cls(np.arange(count, dtype=np.int32), np.full(count, -1, np.int32), np.zeros(count, np.int64))

    def __len__(self) -> int:
        return len(self.session)

    @property
    def first_rows(self) -> Int64:
        """The row of each session's first turn, shape (sessions,)."""
        return np.flatnonzero(self.parent < 0)

    def following(self) -> tuple[Int64, Int64]:
        """Return (rows, offsets): ``rows[offsets[i]:offsets[i + 1]]`` are the turns that follow turn i's answer."""
        rows = np.flatnonzero(self.parent >= 0)
        rows = rows[np.argsort(self.parent[rows], kind="stable")]
        counts = np.bincount(self.parent[rows], minlength=len(self)) if len(rows) else np.zeros(len(self), np.int64)
        return rows, np.concatenate(([0], np.cumsum(counts))).astype(np.int64)


@final
class SessionPacing(DynamicSchedule):
    """Starts sessions at their times, at most ``sessions_in_flight`` at once, and paces the turns of each.

    A session is under way from its first turn until the last of its turns has ended. A turn that fails ends its
    session, as for a user who gives up: the turns that would follow its answer are skipped. A turn's scheduled time is
    the end of the answer before it + the think time. A session that has to wait for others keeps its scheduled time,
    unless all sessions are to start at once: then it is scheduled for the end of the session that it replaces.

    send_times_s: the start of its session for each row, shape (n,), not decreasing.
    """

    def __init__(
        self, send_times_s: Seconds, turns: Turns, max_in_flight: int | None, sessions_in_flight: int | None
    ) -> None:
        super().__init__(send_times_s, max_in_flight)
        rows, offsets = turns.following()
        self._following, self._offsets = array("q", rows.tobytes()), array("q", offsets.tobytes())
        self._think_ns = array("q", turns.think_ns.tobytes())
        self._session = array("i", turns.session.astype(np.int32).tobytes())
        self._first_rows = array("q", turns.first_rows.tobytes())
        self._turns_left = array("q", np.bincount(turns.session).tobytes() if len(turns) else b"")  # by session
        self._sessions_limit = sessions_in_flight or len(self._first_rows)
        self._closed = bool(len(send_times_s)) and bool(send_times_s[-1] <= send_times_s[0])
        self._started = 0  # sessions that have been planned
        self._start_ns = 0

    def plan_first(self, start_ns: int) -> None:
        self._start_ns = start_ns
        for _ in range(min(self._sessions_limit, len(self._first_rows))):
            self._plan_session(start_ns)

    def plan_after(self, row: int, ended_ns: int) -> None:
        following = self._rows_after(row)
        session, ended = self._session[row], 1
        if self.statuses[row] <= _SHORT:
            for later in following:
                self.plan(later, ended_ns + self._think_ns[later])
        else:
            ended += self._skip(following)
        self._turns_left[session] -= ended
        if not self._turns_left[session] and self._started < len(self._first_rows):
            self._plan_session(ended_ns)

    def _plan_session(self, free_ns: int) -> None:
        """Plan the first turn of the next session, for which there is room from ``free_ns`` on."""
        row = self._first_rows[self._started]
        self._started += 1
        due_ns = self._start_ns + int(self.send_times_s[row] * 1e9)
        at_ns = max(due_ns, free_ns)
        self.plan(row, at_ns, at_ns if self._closed else due_ns)

    def _skip(self, rows: Sequence[int]) -> int:
        """Skip rows and all that would follow them; return their number."""
        waiting, count = [*rows], 0
        while waiting:
            count += 1
            waiting += self._rows_after(waiting.pop())
        self.skipped += count
        return count

    def _rows_after(self, row: int) -> Sequence[int]:
        return self._following[self._offsets[row] : self._offsets[row + 1]]
