"""The server that is on its way out: it ends while other work is done."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol


class StoppableServer(Protocol):
    """A server that can be told to end, and waited for in two steps, each of them repeatedly."""

    def leave(self) -> None:
        """Tell it to end, and do not wait."""

    def free(self) -> None:
        """Wait until its memory is free. Raises EngineError where that does not happen."""

    def stop(self) -> None:
        """Wait until nothing of it is left. Raises EngineError where something stays."""


class PendingShutdown:
    """At most one server that is on its way out; the end of the block waits for it."""

    def __init__(self) -> None:
        self._last: StoppableServer | None = None

    def __enter__(self) -> PendingShutdown:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait()

    def add(self, leaving: StoppableServer) -> None:
        """Tell it to end. The one before it is waited for first."""
        try:
            self.wait()
        finally:
            self._last = leaving
            leaving.leave()

    @property
    def pending(self) -> bool:
        """Whether there is one."""
        return self._last is not None

    def make_room(self) -> None:
        """Wait until the memory of the last one is free."""
        if self._last is not None:
            self._last.free()

    def wait(self) -> None:
        """Wait until the last one is gone, through an interruption too. Raises EngineError where something stays."""
        if self._last is None:
            return
        last, self._last = self._last, None
        try:
            last.stop()
        except KeyboardInterrupt:
            last.stop()
            raise
