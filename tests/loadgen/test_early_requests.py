"""Requests that take long to encode or to copy are taken from the store before they are due."""

from __future__ import annotations

import numpy as np
import pytest
from tests.loadgen.loads import endpoint_of, plan_of
from tests.loadgen.servers import served
from tests.loadgen.test_sender import answer

from benchhydra.client import Requests
from benchhydra.client.connection import Connection
from benchhydra.client.request_store import LONG_BYTES
from benchhydra.datasets import Prompt
from benchhydra.loadgen import run_load
from benchhydra.loadgen.sender.early_requests import MOST_HELD, EarlyRequests
from benchhydra.progress import Progress


class Store:
    """Counts what is taken of each request."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def take(self, row: int) -> bytes:
        self.taken.append(row)
        return b"%d" % row


def test_a_request_is_taken_once_early_or_when_it_is_sent() -> None:
    store = Store()
    early = EarlyRequests(store.take)
    early.prepare([3, 4])
    early.prepare([4, 5])
    assert store.taken == [3, 4, 5]
    assert [early.take(row) for row in (4, 6, 3, 5)] == [b"4", b"6", b"3", b"5"]
    assert store.taken == [3, 4, 5, 6]


def test_only_so_many_requests_are_held() -> None:
    store = Store()
    early = EarlyRequests(store.take)
    early.prepare(range(2 * MOST_HELD))
    assert store.taken == [*range(MOST_HELD)]
    assert early.take(MOST_HELD) == b"%d" % MOST_HELD
    early.take(0)
    early.prepare([MOST_HELD + 1, MOST_HELD + 2])
    assert store.taken[-1] == MOST_HELD + 1


@pytest.mark.parametrize("is_long", [True, False])
def test_long_requests_are_taken_before_they_are_due(is_long: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[tuple[str, int]] = []
    take, send = Requests.take, Connection.send

    def logged_take(self: Requests, row: int) -> bytes:
        events.append(("take", row))
        return take(self, row)

    def logged_send(self: Connection, row: int, request: bytes) -> None:
        events.append(("send", row))
        send(self, row, request)

    monkeypatch.setattr(Requests, "take", logged_take)
    monkeypatch.setattr(Connection, "send", logged_send)
    prompts = [Prompt("x" * (LONG_BYTES if is_long else 1), 1, 1)] * 6
    with served(answer) as port:
        times = np.arange(6) * 0.01
        plan = plan_of(endpoint_of(port), prompts, send_times_s=times, processes="1", timeout_s=5.0)
        assert run_load(plan, Progress()).records.completed.all()
    assert [row for event, row in events if event == "send"] == [*range(6)]
    assert sorted(row for event, row in events if event == "take") == [*range(6)]
    assert events[:2] == [("take", 0), ("take", 1) if is_long else ("send", 0)]
