"""Sessions as rows: what became of each conversation, and which of its tokens a prefix cache could have found."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from benchhydra.records import Float64, Int32, Int64, Mask, Phase, Records
from benchhydra.window import Window, started_ns


@dataclass(frozen=True, kw_only=True)
class SessionTable:
    """Sessions by their number; columns of shape (sessions,).

    turns: planned; completed: of these, answered as a whole; broken: a turn failed, so that those after it were not
    sent; measured: all of its rows belong to the measured window; start_ns: the first turn's scheduled time;
    first_sent_ns: when it was sent; end_ns: the last turn's end; waited_ms: sum over turns of the time from the
    scheduled time to the end of the answer, what the user waited.
    """

    turns: Int64
    completed: Int64
    sent: Int64
    broken: Mask
    measured: Mask
    start_ns: Int64
    first_sent_ns: Int64
    end_ns: Int64
    waited_ms: Float64

    def __len__(self) -> int:
        return len(self.turns)

    @property
    def complete(self) -> Mask:
        """Mask of the sessions all of whose turns were answered."""
        return np.asarray(self.completed == self.turns)

    @property
    def duration_s(self) -> Float64:
        """From the scheduled start to the end, think times included."""
        return np.asarray((self.end_ns - self.start_ns) / 1e9)

    def where(self, mask: Mask) -> SessionTable:
        """Return the sessions of a mask of shape (sessions,)."""
        return SessionTable(**{column.name: getattr(self, column.name)[mask] for column in fields(self)})


def session_table(window: Window) -> SessionTable:
    """Return the sessions whose turns were all measured. The rows have the labels ``session`` and ``turns``."""
    table = all_sessions(window.every)
    return table.where(table.measured)


def all_sessions(rows: Records) -> SessionTable:
    """Return all sessions of a run, also those of the warm-up and the cool-down."""
    numbers, index = np.unique(rows.labels["session"], return_inverse=True)
    count = len(numbers)
    sent = np.bincount(index, minlength=count)
    turns, end_ns = np.zeros(count, np.int64), np.zeros(count, np.int64)
    start_ns, first_sent_ns = (np.full(count, np.iinfo(np.int64).max) for _ in range(2))
    turns[index] = rows.labels["turns"]
    np.minimum.at(start_ns, index, rows.scheduled_ns)
    np.minimum.at(first_sent_ns, index, started_ns(rows))
    np.maximum.at(end_ns, index, rows.done_ns)
    waited_ms = np.bincount(index, weights=(rows.done_ns - rows.scheduled_ns) / 1e6, minlength=count)
    return SessionTable(
        turns=turns,
        completed=np.bincount(index, weights=rows.completed, minlength=count).astype(np.int64),
        sent=sent,
        broken=np.bincount(index, weights=rows.failed, minlength=count) > 0,
        measured=np.bincount(index, weights=rows.phase == Phase.MEASURED, minlength=count) == sent,
        start_ns=start_ns,
        first_sent_ns=first_sent_ns,
        end_ns=end_ns,
        waited_ms=waited_ms.astype(np.float64),
    )


def reusable_tokens(window: Window, block_tokens: int) -> tuple[int, int] | None:
    """Return (tokens that an unbounded prefix cache would find, prompt tokens) over the completed rows of sessions.

    A prompt shares with an earlier one what its label ``shared_tokens`` says. Where histories hold the server's own
    answers, that is the prompt of the turn before. Its answer is shared too if the prompt has grown by exactly the
    tokens of the answer and of the new messages: a text may be tokenized otherwise than it was generated. But its last
    token is computed only for the first of the turns that follow it. Whole blocks are shared, and never a prompt's last
    token. None if the server did not report token counts.
    """
    rows = window.completed
    prompt = window.prompt_tokens[rows].astype(np.int64)
    if not len(prompt) or (prompt < 0).any():
        return None
    shared = window.labels["shared_tokens"][rows].astype(np.int64)
    parent = window.labels["parent"][rows]
    follows = (shared < 0) & (parent >= 0)
    before, answer = (_by_request(window, column)[parent[follows]] for column in ("prompt_tokens", "output_tokens"))
    if (before < 0).any():
        return None
    grown = prompt[follows] - before - window.labels["added_tokens"][rows][follows]
    computed = answer - _is_first_sibling(parent[follows])
    shared[follows] = before + np.where((answer > 0) & (grown == answer), computed, 0)
    shared = np.minimum(shared, prompt - 1)
    return int((shared // block_tokens * block_tokens).sum()), int(prompt.sum())


def _is_first_sibling(parent: Int32) -> Mask:
    """Return the mask of the first row of each parent, shape (n,)."""
    first = np.zeros(len(parent), bool)
    first[np.unique(parent, return_index=True)[1]] = True
    return first


def _by_request(window: Window, column: str) -> Int32:
    """Return a column of all rows of the run by the label ``request``; -1 for requests without a row."""
    requests = window.every.labels["request"]
    values = np.full(max(int(requests.max(initial=-1)), int(window.labels["parent"].max(initial=-1))) + 1, -1, np.int32)
    values[requests] = getattr(window.every, column)
    return values
