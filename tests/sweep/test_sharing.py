"""What jobs of a sweep's own thread find there."""

from __future__ import annotations

from threading import Thread
from typing import Any

from benchhydra.servers.departures import Departures
from benchhydra.sweep.sharing import Shared, shared, sharing
from benchhydra.tracking.outbox import Outbox


def test_jobs_of_this_thread_share_the_sweeps() -> None:
    assert shared() is None
    composer: Any = object()
    elsewhere: list[object] = []
    what = Shared(composer=composer, outbox=Outbox(), departures=Departures())
    with sharing(what):
        assert shared() is what
        thread = Thread(target=lambda: elsewhere.append(shared()))
        thread.start()
        thread.join()
    assert elsewhere == [None] and shared() is None
