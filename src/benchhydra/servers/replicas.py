"""Several servers of one engine, started together and used as one, and a router in front of them if there is one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchhydra.engines import ServerSpec
from benchhydra.errors import EngineError
from benchhydra.progress import Progress
from benchhydra.servers import LeasedServer, LeaseFields
from benchhydra.servers.health import ControlPlane
from benchhydra.servers.http_server import HttpServer
from benchhydra.servers.router import router_spec

#: Starts the process of a server, whose readiness is waited for later: its spec, its number (-1: the router), its log.
Launch = Callable[[ServerSpec, int, Path], HttpServer]


class ReplicaServers(LeasedServer):
    """The servers of ``spec.replicas``, and a router. The constructor starts them; ``wait_ready`` waits for all.

    logs: a file for each server, and one for the router.
    """

    def __init__(self, spec: ServerSpec, logs: Sequence[Path], launch: Launch) -> None:
        self._spec = spec
        self._launch = launch
        self._router_log = logs[-1]
        self._router: HttpServer | None = None
        self._servers: list[HttpServer] = []
        self.log = logs[0]
        self.start_s = 0.0
        self._started_s = time.monotonic()
        try:
            for number, replica in enumerate(spec.replicas):
                self._servers.append(launch(replica, number, logs[number]))
        except BaseException:
            self._stop_early()
            raise

    def wait_ready(self, progress: Progress) -> None:
        """Return when all servers are ready, and then the router. Stops all on an error."""
        try:
            for server in self._servers:
                server.wait_ready(progress, self._require_running)
            self._start_router(progress)
        except BaseException:
            self._stop_early()
            raise
        self.start_s = time.monotonic() - self._started_s

    def restart_router(self, progress: Progress) -> None:
        """Start the router again, if there is one: it may have learnt which server has which prefix. Changes its URL.

        Raises EngineError; the servers are then no longer ``alive``.
        """
        if self._router is not None:
            self._router.stop()
            self._router = None  # only now: an interruption before leaves it to ``stop``
            self._start_router(progress)

    def lease_fields(self) -> LeaseFields:
        """Return where the router is, without one the first server; and what belongs to all."""
        first = self._servers[0].lease_fields()
        return {
            **first,
            "base_url": (self._router or self._servers[0]).base_url,
            "routed": self._router is not None,
            "replica_urls": tuple(server.base_url for server in self._servers),
            "logs": tuple(server.log for server in self._all()),
            "pids": tuple(server.process.pid for server in self._all()),
        }

    @property
    def controls(self) -> tuple[ControlPlane, ...]:
        """The servers' addresses, for requests apart from the load."""
        return tuple(server.control for server in self._servers)

    def alive(self) -> bool:
        """Return whether all run, the router included."""
        is_complete = bool(self._spec.router) is (self._router is not None)
        return is_complete and all(server.alive() for server in self._all())

    def reset(self) -> bool:
        """Empty the caches of all servers. Returns True only if that is proven of each."""
        return all(server.reset() for server in self._servers)

    def terminate(self) -> None:
        """Send SIGTERM to all, and do not wait."""
        for server in self._all():
            server.terminate()

    def wait_memory_released(self) -> None:
        """Wait until all have released their memory."""
        for server in self._all():
            server.wait_memory_released()

    def stop(self) -> None:
        """Stop all their processes. Raises the first EngineError after all were tried."""
        self.terminate()
        _all_in_turn([server.stop for server in self._all()])

    def _start_router(self, progress: Progress) -> None:
        if not self._spec.router:
            return
        urls = [server.base_url for server in self._servers]
        router = self._launch(router_spec(self._spec, urls, self._router_log), -1, self._router_log)
        router.wait_ready(progress)  # stops it on an error
        self._router = router

    def _require_running(self) -> None:
        for server in self._servers:
            server.require_running()

    def _stop_early(self) -> None:
        self.terminate()
        _all_in_turn([server.stop_early for server in self._all()])

    def _all(self) -> list[HttpServer]:
        return [*([self._router] if self._router is not None else []), *self._servers]


def _all_in_turn(steps: Sequence[Callable[[], None]]) -> None:
    """Call all steps, even if one raises or is interrupted, and then raise the first error."""
    first: BaseException | None = None
    for step in steps:
        try:
            step()
        except (EngineError, KeyboardInterrupt) as error:
            first = first or error
    if first is not None:
        raise first
