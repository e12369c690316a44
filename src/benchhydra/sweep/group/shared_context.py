"""What a sweep shares with jobs that run in its own thread (the basic launcher's)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from benchhydra.servers.shutdown import PendingShutdown
from benchhydra.sweep.plan.compose import Composer
from benchhydra.tracking.outbox import Outbox


@dataclass(frozen=True, kw_only=True)
class SharedContext:
    """The composer with what it knows, the outbox with its helper at work, and the last job's server on its way out."""

    composer: Composer
    outbox: Outbox
    departures: PendingShutdown


_SHARED: ContextVar[SharedContext | None] = ContextVar("shared", default=None)


@contextmanager
def share_with_jobs(what: SharedContext) -> Iterator[None]:
    """Share it with the jobs of this thread during the block."""
    token = _SHARED.set(what)
    try:
        yield
    finally:
        _SHARED.reset(token)


def shared_context() -> SharedContext | None:
    """What the sweep whose job this is shares, where the sweep runs in this thread."""
    return _SHARED.get()
