"""A server that is being shut down: it ends while other work is done, and the next server waits for its memory."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol


class StoppableServer(Protocol):
    """A server that is shut down in steps. Each step includes those before it, and may be repeated."""

    def terminate(self) -> None:
        """Send SIGTERM, and do not wait."""

    def wait_memory_released(self) -> None:
        """Wait until its memory is free. Raises EngineError where that does not happen."""

    def stop(self) -> None:
        """Wait until nothing of it is left, killing what does not end in time. Raises EngineError where it fails."""


class PendingShutdown:
    """At most one server that is being shut down; the end of the block waits for it."""

    def __init__(self) -> None:
        self._server: StoppableServer | None = None

    def __enter__(self) -> PendingShutdown:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait()

    @property
    def pending(self) -> bool:
        """Whether there is one."""
        return self._server is not None

    def add(self, server: StoppableServer) -> None:
        """Terminate a server. The one before it is waited for first, and may raise EngineError."""
        try:
            self.wait()
        finally:
            self._server = server
            server.terminate()

    def wait_memory_released(self) -> None:
        """Wait until the server's memory is free."""
        if self._server is not None:
            self._server.wait_memory_released()

    def wait(self) -> None:
        """Wait until nothing is left of the server, through an interruption too. Raises EngineError where it fails."""
        if self._server is None:
            return
        server, self._server = self._server, None
        try:
            server.stop()
        except KeyboardInterrupt:
            server.stop()
            raise
