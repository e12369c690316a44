"""Server lifecycle: start, prove ready, reuse after a proven cache reset, stop with all child processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypedDict

from benchhydra.errors import EngineError
from benchhydra.facts import fact
from benchhydra.servers.logs import shortened_log

SERVER_STARTED = fact("server_started", unit="bool", doc="the server was started for this point", in_metadata=True)
SERVER_START_S = fact("server_start_s", unit="s", doc="time from the server's start to its readiness", in_metadata=True)
SERVER_RESTARTED = fact(
    "server_restarted", unit="bool", doc="the previous server of this spec had died or its caches could not be reset"
)
SERVER_DRAIN_S = fact(
    "server_drain_s",
    unit="s",
    doc="time until the server was empty after the overload of the point before; none without one",
    in_metadata=True,
)
SERVER_DRAINED = fact("server_drained", unit="bool", doc="whether the server was empty after that time")
CACHE_RESET = fact("cache_reset", unit="bool", doc="the server's caches were proven empty before the load")


class LeaseFields(TypedDict, total=False):
    """The fields of a ``Lease`` that a running server knows itself."""

    base_url: str
    api_path: str
    replica_urls: tuple[str, ...]
    routed: bool
    log: Path | None
    logs: tuple[Path, ...]
    pid: int | None
    pids: tuple[int, ...]
    started_ns: int | None


class LeasedServer(Protocol):
    """The operations of a point on its server, apart from the measured requests."""

    def call(self, request: dict[str, Any], timeout_s: float | None) -> dict[str, Any]:
        """Send an offline engine a request and return its answer. Raises EngineError, as an HTTP server always does."""
        raise EngineError("this is an HTTP server, not an offline engine")

    def reset(self) -> bool | None:
        """Empty the caches. Returns True if that is proven, False if not, None if the server has no reset."""


@dataclass(frozen=True, kw_only=True)
class Drain:
    """A wait until a server has no request left: how long it took, and whether the server was empty at its end."""

    wall_s: float
    empty: bool


@dataclass(kw_only=True)
class Lease:
    """A server (or offline engine) for one point.

    ``api_path``: the path of its API below ``base_url``.
    ``fresh``: started for this lease. ``cache_reset``: whether the caches were proven empty before this point; None if
    there was nothing to reset (a fresh server, an engine without caches). ``restarted``: the previous server of this
    spec had died or its caches could not be reset. ``drain``: the wait after an overload in the point before. ``log``:
    the server's log file (None: attached); this point's part of it starts at byte ``log_offset``. ``started_ns``: start
    of its process (monotonic clock). ``start_s``: seconds from start to ready. ``pid``: the root of the server's
    process tree. ``gpus``: NVML indices of the GPUs it holds. ``warmed``: the warm-ups that this server has had, by
    kind of request: (concurrent requests, longest prompt in tokens). With several servers: ``replica_urls``, ``logs``
    and ``pids`` are of all of them; ``routed``: ``base_url`` is a router in front of them.
    """

    server: LeasedServer | None = None
    base_url: str = ""
    api_path: str = "/v1"
    replica_urls: tuple[str, ...] = ()
    routed: bool = False
    logs: tuple[Path, ...] = ()
    pids: tuple[int, ...] = ()
    fresh: bool = True
    cache_reset: bool | None = None
    restarted: bool = False
    drain: Drain | None = None
    started_ns: int | None = None
    start_s: float | None = None
    log: Path | None = None
    log_offset: int = 0
    pid: int | None = None
    gpus: tuple[int, ...] = ()
    warmed: dict[str, tuple[int, int]] = field(default_factory=dict)
    verify_tls: bool = True
    ca_file: str | None = None

    def facts(self) -> dict[str, Any]:
        """Return facts about the server's start and reset; a value is None if it does not apply."""
        return {
            SERVER_STARTED: self.fresh,
            SERVER_START_S: self.start_s,
            SERVER_RESTARTED: self.restarted,
            SERVER_DRAIN_S: self.drain.wall_s if self.drain else None,
            SERVER_DRAINED: self.drain.empty if self.drain else None,
            CACHE_RESET: self.cache_reset,
        }

    def call(self, request: dict[str, Any], *, timeout_s: float | None = None) -> dict[str, Any]:
        """Send an offline engine a request and return its answer; timeout_s=None: no limit. Raises EngineError."""
        return self._leased().call(request, timeout_s)

    def reset(self) -> bool | None:
        """Empty the caches within a point (after a warm-up). Returns True: proven; False: not; None: no reset."""
        return self._leased().reset()

    def write_log(self, path: Path) -> None:
        """Write this point's part of the server's log; it includes the start-up if the server was started for it.

        Of a long part only the beginning and the end are written, and how much is missing.
        """
        if self.log is None or not self.log.exists():
            return
        path.write_bytes(shortened_log(self.log, self.log_offset))
        with path.open("ab") as file:
            for log in self.logs:
                if log != self.log and log.exists():
                    file.write(b"\n[benchhydra: %b]\n" % log.name.encode() + shortened_log(log))

    def _leased(self) -> LeasedServer:
        if self.server is None:
            raise EngineError("this lease has no server")
        return self.server
