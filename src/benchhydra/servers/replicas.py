"""Several servers of one engine, started together and used as one, and a router in front of them if there is one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchhydra.engines import ServerSpec
from benchhydra.engines.placeholders import fill_names
from benchhydra.errors import EngineError
from benchhydra.progress import Progress
from benchhydra.servers.health import ControlPlane
from benchhydra.servers.http_server import HttpServer

#: Starts the process of a server, whose readiness is waited for later: its spec, its number (-1: the router), its log.
Launch = Callable[[ServerSpec, int, Path], HttpServer]
#: The name of a router's configuration file, beside its log.
ROUTER_CONFIG = "router.conf"


class ReplicaServers:
    """The servers of ``spec.replicas``, and a router. The constructor starts them; ``wait_ready`` waits for all."""

    def __init__(self, spec: ServerSpec, logs: Sequence[Path], launch: Launch) -> None:
        self._spec = spec
        self._launch = launch
        self._logs = logs
        self.router: HttpServer | None = None
        self.servers: list[HttpServer] = []
        self.start_s = 0.0
        self._started_s = time.monotonic()
        try:
            for number, replica in enumerate(spec.replicas):
                self.servers.append(launch(replica, number, logs[number]))
        except BaseException:
            self._stop_early()
            raise

    def wait_ready(self, progress: Progress) -> None:
        """Return when all servers are ready, and then the router. Stops all on an error."""
        try:
            for server in self.servers:
                server.wait_ready(progress, self._require_running)
            if self._spec.router:
                self.router = self._launch(self._router_spec(), -1, self._logs[-1])
                self.router.wait_ready(progress)
        except BaseException:
            self._stop_early()
            raise
        self.start_s = time.monotonic() - self._started_s

    @property
    def process(self) -> Any:
        """The process of the first server."""
        return self.servers[0].process

    @property
    def log(self) -> Path:
        """The log of the first server."""
        return self.servers[0].log

    @property
    def logs(self) -> tuple[Path, ...]:
        """The logs of all servers and of the router."""
        return tuple(server.log for server in self._all())

    @property
    def pids(self) -> tuple[int, ...]:
        """The roots of the process trees of all servers and of the router."""
        return tuple(server.process.pid for server in self._all())

    @property
    def base_url(self) -> str:
        """The URL of the router, without one that of the first server."""
        return (self.router or self.servers[0]).base_url

    @property
    def replica_urls(self) -> tuple[str, ...]:
        """The URLs of the servers themselves."""
        return tuple(server.base_url for server in self.servers)

    @property
    def api_path(self) -> str:
        """The path of their API below their URLs."""
        return self.servers[0].api_path

    @property
    def controls(self) -> tuple[ControlPlane, ...]:
        """The servers' addresses, for requests apart from the load."""
        return tuple(server.control for server in self.servers)

    def alive(self) -> bool:
        """Return whether all run."""
        return all(server.alive() for server in self._all())

    def call(self, request: dict[str, Any], timeout_s: float | None) -> dict[str, Any]:
        """Raise EngineError: only offline engines have calls."""
        raise EngineError("these are HTTP servers, not an offline engine")

    def reset(self) -> bool:
        """Empty the caches of all servers. Returns True only if that is proven of each."""
        return all(server.reset() for server in self.servers)

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

    def _require_running(self) -> None:
        for server in self.servers:
            server.require_running()

    def _stop_early(self) -> None:
        for server in self._all():
            server.terminate()
        _all_in_turn([server.stop_early for server in self._all()])

    def _all(self) -> list[HttpServer]:
        return [*([self.router] if self.router is not None else []), *self.servers]

    def _router_spec(self) -> ServerSpec:
        """Return the router's spec with the servers' URLs in its words, and its configuration file if it has one."""
        urls, config = self.replica_urls, self._logs[-1].with_name(f"{self._logs[-1].stem}-{ROUTER_CONFIG}")
        words = [word for text in self._spec.router for word in (urls if text == "{urls}" else (text,))]
        names = {f"url{number}": url for number, url in enumerate(urls)} | {"config": str(config)}
        return ServerSpec(
            kind="http",
            argv=tuple(fill_names(word, names) for word in words),
            env=self._spec.env,
            api_path=self._spec.api_path,
            places_address=True,
            ready_path=self._spec.router_ready_path,
            cache_reset="none",
            config_file=str(config) if self._spec.router_config else "",
            config_text=self._spec.router_config.replace("{servers}", _nginx_servers(urls)),
        )


def _nginx_servers(urls: Sequence[str]) -> str:
    """Return the lines ``server HOST:PORT;`` of an upstream."""
    return "\n".join(f"    server {url.partition('://')[2]};" for url in urls)


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
