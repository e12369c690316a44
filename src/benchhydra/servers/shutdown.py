"""Shut a server down in the background: other work goes on, and the next server waits for the memory."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol


class StoppableServer(Protocol):
    """A server that is shut down in steps. Each step includes those before it, and may be repeated."""

    def terminate(self) -> None:
        """Send SIGTERM, and do not wait."""

    def wait_memory_released(self) -> None:
        """Wait until its memory is free. Raises EngineError if it is not in time."""

    def stop(self) -> None:
        """Wait until all its processes have exited, and kill those that are late. Raises EngineError if one remains."""


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
        """Whether a server is being shut down."""
        return self._server is not None

    def add(self, server: StoppableServer) -> None:
        """Wait for the previous server, which may raise EngineError; then terminate this one in any case."""
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
        """Wait until the server has exited, even if interrupted meanwhile. Raises EngineError if it still runs."""
        if self._server is None:
            return
        server, self._server = self._server, None
        try:
            server.stop()
        except KeyboardInterrupt:
            server.stop()
            raise
