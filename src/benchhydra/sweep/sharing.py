"""What a sweep shares with jobs that run in its own thread (the basic launcher's): its composer and its outbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from benchhydra.sweep.compose import Composer
from benchhydra.tracking.outbox import Outbox


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What jobs need not make again: the composer with what it knows, and the outbox with its helper at work."""

    composer: Composer
    outbox: Outbox


_SHARED: ContextVar[Shared | None] = ContextVar("shared", default=None)


@contextmanager
def sharing(composer: Composer, outbox: Outbox) -> Iterator[None]:
    """Share them with the jobs of this thread during the block."""
    token = _SHARED.set(Shared(composer=composer, outbox=outbox))
    try:
        yield
    finally:
        _SHARED.reset(token)


def shared() -> Shared | None:
    """What the sweep whose job this is shares, where the sweep runs in this thread."""
    return _SHARED.get()
