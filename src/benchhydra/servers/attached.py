"""A server that benchhydra did not start: it is checked once, and never stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from benchhydra.engines import ServerSpec
from benchhydra.fetch import check_base_url, split_api_path
from benchhydra.progress import Progress
from benchhydra.servers import LeasedServer
from benchhydra.servers.caches import reset_caches
from benchhydra.servers.health import ControlPlane, wait_until_ready


class AttachedServer(LeasedServer):
    """A running server. The constructor waits for it while it starts, and raises EngineError if it does not answer."""

    replica_urls: ClassVar[tuple[str, ...]] = ()  # it has none

    def __init__(
        self, spec: ServerSpec, headers: Mapping[str, str], progress: Progress, *, ready_timeout_s: float
    ) -> None:
        base_url = check_base_url("engine.base_url", spec.base_url)
        self.base_url, self.api_path = split_api_path(base_url, spec.api_path)
        self.control = ControlPlane(
            base_url=self.base_url,
            api_path=self.api_path,
            headers=headers,
            verify_tls=spec.verify_tls,
            ca_file=spec.ca_file,
        )
        self._cache_reset = spec.cache_reset
        self.ready = wait_until_ready(self.control, progress, ready_timeout_s)

    @property
    def controls(self) -> tuple[ControlPlane, ...]:
        """Its address, for requests apart from the load."""
        return (self.control,)

    def reset(self) -> bool | None:
        """Empty its caches. Returns True if that is proven, False if not, None if it has no reset endpoint."""
        return reset_caches(self.control, how=self._cache_reset)


class AttachedServers(LeasedServer):
    """Several running servers that share the load. The constructor waits for all of them."""

    def __init__(
        self, spec: ServerSpec, headers: Mapping[str, str], progress: Progress, *, ready_timeout_s: float
    ) -> None:
        specs = [replace(spec, base_url=url, base_urls=()) for url in spec.base_urls]
        self._servers = [AttachedServer(s, headers, progress, ready_timeout_s=ready_timeout_s) for s in specs]
        self.ready = all(server.ready for server in self._servers)
        self.base_url, self.api_path = self._servers[0].base_url, self._servers[0].api_path
        self.replica_urls = tuple(server.base_url for server in self._servers)

    @property
    def controls(self) -> tuple[ControlPlane, ...]:
        """Their addresses, for requests apart from the load."""
        return tuple(server.control for server in self._servers)

    def reset(self) -> bool | None:
        """Empty all caches. Returns True if that is proven of each server, False if not, None if one has no reset."""
        proven = [server.reset() for server in self._servers]
        if False in proven:
            return False
        return None if None in proven else True
