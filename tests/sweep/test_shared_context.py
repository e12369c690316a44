"""What jobs of a sweep's own thread find there."""

from __future__ import annotations

from threading import Thread
from typing import Any

from benchhydra.servers.shutdown import PendingShutdown
from benchhydra.sweep.shared_context import SharedContext, share_with_jobs, shared_context
from benchhydra.tracking.outbox import Outbox


def test_jobs_of_this_thread_share_the_sweeps() -> None:
    assert shared_context() is None
    composer: Any = object()
    elsewhere: list[object] = []
    what = SharedContext(composer=composer, outbox=Outbox(), shutdown=PendingShutdown())
    with share_with_jobs(what):
        assert shared_context() is what
        thread = Thread(target=lambda: elsewhere.append(shared_context()))
        thread.start()
        thread.join()
    assert elsewhere == [None] and shared_context() is None
