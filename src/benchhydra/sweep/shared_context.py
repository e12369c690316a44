"""Objects that a sweep shares with the jobs in its own thread (``launcher=local``), so that none creates its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from benchhydra.servers.shutdown import PendingShutdown
from benchhydra.sweep.group.time_left import TimeLeft
from benchhydra.sweep.plan.compose import Composer
from benchhydra.tracking.outbox import Outbox


@dataclass(frozen=True, kw_only=True)
class SharedContext:
    """The composer with its cache, the outbox, the shutdown of the last job's server, and the estimated time left."""

    composer: Composer
    outbox: Outbox
    shutdown: PendingShutdown
    time_left: TimeLeft


_shared: ContextVar[SharedContext | None] = ContextVar("shared", default=None)


@contextmanager
def share_with_jobs(context: SharedContext) -> Iterator[None]:
    """Make the context available to jobs in this thread during the block."""
    token = _shared.set(context)
    try:
        yield
    finally:
        _shared.reset(token)


def shared_context() -> SharedContext | None:
    """The context of the sweep that runs in this thread; None in a process or thread of a launcher."""
    return _shared.get()
