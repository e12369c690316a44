"""Figures of sessions that cross the window's edges, wait to start, break off or are cut short, computed by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchhydra import registry
from benchhydra.facts import Facts
from benchhydra.metrics import summarize
from benchhydra.records import Phase, Records, Status
from benchhydra.validity import ValidityLimits, judge
from benchhydra.window import Window

registry.discover()
SECOND = 1_000_000_000
#: session, turns, scheduled, sent, done (s), status, phase. Session 0 begins in the warm-up, session 1 waits a second,
#: session 2 breaks off after the first of three turns, and the load ends before the second turn of session 3.
ROWS = (
    (0, 2, 0, 0, 1, Status.OK, Phase.WARMUP),
    (0, 2, 2, 2, 4, Status.OK, Phase.MEASURED),
    (1, 2, 1, 2, 3, Status.OK, Phase.MEASURED),
    (1, 2, 4, 4, 6, Status.OK, Phase.MEASURED),
    (2, 3, 3, 3, 5, Status.HTTP_5XX, Phase.MEASURED),
    (3, 2, 5, 5, 6, Status.OK, Phase.MEASURED),
)


@pytest.fixture
def window() -> Window:
    session, turns, scheduled_s, sent_s, done_s, status, phase = map(np.array, zip(*ROWS, strict=True))
    records = Records.of_spans((sent_s * SECOND).tolist(), (done_s * SECOND).tolist())
    labels = {"session": session.astype(np.int32), "turns": turns.astype(np.int32)}
    return Window.of(
        dataclasses.replace(
            records,
            scheduled_ns=scheduled_s * SECOND,
            status=status.astype(np.int32),
            phase=phase.astype(np.int32),
            labels=labels,
        ),
        facts=Facts(),
    )


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("completed_sessions", 1),  # session 1
        ("broken_sessions", 1),  # session 2
        ("turns_not_sent", 2),  # of session 2
        ("session_throughput", 2 / 4),  # sessions 0 and 1 end within the window, from 2 s to 6 s
        ("mean_concurrent_sessions", (2 + 4 + 2 + 1) / 4),
        ("mean_session_duration_s", 5),  # session 1, from its scheduled start
    ],
)
def test_figures_of_sessions(window: Window, metric: str, expected: float) -> None:
    values = {each.key: each.value for each in summarize(window, {"requests", "sessions"})}
    assert values[metric] == pytest.approx(expected)


@pytest.mark.parametrize(("status", "is_broken"), [(Status.USER_CANCELLED, False), (Status.HTTP_5XX, True)])
def test_only_a_failed_turn_breaks_a_session(window: Window, status: Status, is_broken: bool) -> None:
    ended = dataclasses.replace(window.every, status=np.where(window.every.status == Status.OK, 0, status))
    reasons = judge(Window.of(ended, facts=Facts()), ValidityLimits())[1]
    assert ("broken_sessions" in {reason.check for reason in reasons}) is is_broken
