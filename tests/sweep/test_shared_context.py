"""A sweep shares its composer, outbox and shutdown with the jobs of its own thread, and with no others."""

from __future__ import annotations

from threading import Thread
from typing import Any

from benchhydra.servers.shutdown import PendingShutdown
from benchhydra.sweep.group.time_left import TimeLeft
from benchhydra.sweep.shared_context import SharedContext, share_with_jobs, shared_context
from benchhydra.tracking.outbox import Outbox


def test_jobs_of_this_thread_share_the_sweeps() -> None:
    assert shared_context() is None
    composer: Any = object()
    in_other_thread: list[object] = []
    context = SharedContext(
        composer=composer, outbox=Outbox(), shutdown=PendingShutdown(), time_left=TimeLeft(groups=[])
    )
    with share_with_jobs(context):
        assert shared_context() is context
        thread = Thread(target=lambda: in_other_thread.append(shared_context()))
        thread.start()
        thread.join()
    assert in_other_thread == [None] and shared_context() is None
