"""The servers of a group of points. Points with equal specs share one server if its caches are proven empty."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchhydra.engines import ServerSpec
from benchhydra.errors import EngineError
from benchhydra.progress import Progress
from benchhydra.servers import Drain, Lease, gpus
from benchhydra.servers.attached import AttachedServer, AttachedServers
from benchhydra.servers.drain import wait_until_empty
from benchhydra.servers.logs import StartPhase, size, unknown_phase
from benchhydra.servers.shutdown import PendingShutdown

if TYPE_CHECKING:
    from benchhydra.servers.http_server import HttpServer
    from benchhydra.servers.replicas import ReplicaServers
    from benchhydra.servers.worker import OfflineWorker


@dataclass(kw_only=True)
class _PooledServer:
    """A server that benchhydra started, the GPUs that it holds, and the warm-ups that it has had."""

    server: HttpServer | OfflineWorker | ReplicaServers
    claims: ExitStack
    gpus: tuple[int, ...] = ()
    gpus_before_mib: dict[int, int] = field(default_factory=dict)
    warmed: dict[str, tuple[int, int]] = field(default_factory=dict)
    restart_router: Callable[[Progress], None] | None = None

    def terminate(self) -> None:
        """Send SIGTERM, and do not wait."""
        self.server.terminate()

    def wait_memory_released(self) -> None:
        """Wait until its memory and that of its GPUs is free, then release the GPUs. Raises EngineError."""
        self.server.wait_memory_released()
        with self.claims:
            claimed, self.gpus = self.gpus, ()
            if claimed and not gpus.wait_released(claimed, self.gpus_before_mib):
                names = ", ".join(map(str, claimed))
                raise EngineError(f"memory of GPUs {names} is still in use after the engine has exited")

    def stop(self) -> None:
        """Wait until all its processes have exited, and release the GPUs."""
        try:
            self.server.stop()
        finally:
            self.wait_memory_released()

    def lease(self, **fields: Any) -> Lease:
        """Return a lease of this server; ``fields``: the fields of ``Lease`` that depend on the point."""
        server = self.server
        return Lease(server=server, gpus=self.gpus, warmed=self.warmed, **server.lease_fields(), **fields)


class ServerPool:
    """Servers of one group of points. At most one runs at a time, unless ``keep``.

    A server starts as soon as the previous one has released its memory, and is used only after the previous one has
    exited. If ``pending_shutdown`` is given, ``close`` leaves the last server to it and the caller must wait for it;
    without it ``close`` waits. ``starts`` counts started servers; ``on_start`` is called whenever ``lease`` starts one.
    """

    def __init__(self, log_dir: Path, *, keep: bool = False, pending_shutdown: PendingShutdown | None = None) -> None:
        self.log_dir = log_dir
        self.starts = 0
        self.on_start: Callable[[], None] = lambda: None
        self.overloaded = False  # the last point was: its server may still be at work
        self.log: Path | None = None  # of the server started last, even if it failed to start
        self._keep = keep
        self._pending_shutdown = pending_shutdown or PendingShutdown()
        self._close_waits = pending_shutdown is None
        self._servers: dict[ServerSpec, _PooledServer] = {}
        self._unready: set[ServerSpec] = set()  # attached servers that were not ready at the last point
        self._owner = os.getpid()
        atexit.register(self.close)

    @contextmanager
    def lease(
        self,
        spec: ServerSpec,
        progress: Progress,
        *,
        ready_timeout_s: float,
        stop_timeout_s: float,
        headers: Mapping[str, str],
        start_phase: StartPhase = unknown_phase,
    ) -> Iterator[Lease]:
        """Yield a server for one point: the running one if its caches are proven empty, else a new one.

        start_phase: what a starting engine does, from its log, for the progress display. Raises EngineError
        (GpuUnavailable if too few GPUs are free).
        """
        if spec.kind == "attached":
            yield self._attach(spec, headers, progress, ready_timeout_s)
            return
        reused = self._reuse(spec, progress)
        if reused is not None:
            yield reused
            return
        restarted = spec in self._servers and not self._restart_is_intended(spec)
        self._make_room(progress, [s for s in self._servers if s == spec or not self._keep])
        pooled = self._start(spec, progress, ready_timeout_s, stop_timeout_s, headers, start_phase)
        yield pooled.lease(restarted=restarted, start_s=pooled.server.start_s)

    @contextmanager
    def fresh(
        self,
        spec: ServerSpec,
        progress: Progress,
        *,
        ready_timeout_s: float,
        stop_timeout_s: float,
        headers: Mapping[str, str],
        start_phase: StartPhase = unknown_phase,
    ) -> Iterator[Lease]:
        """Yield a new server; no other server runs while it starts, and it is stopped at the end of the block.

        It is for scripts that measure starts: ``on_start`` is not called, because it starts other work.
        """
        self._make_room(progress, list(self._servers))
        self._pending_shutdown.wait()
        pooled = self._start(spec, progress, ready_timeout_s, stop_timeout_s, headers, start_phase, announce=False)
        try:
            yield pooled.lease(start_s=pooled.server.start_s)
        finally:
            self._pending_shutdown.add(self._servers.pop(spec))
            self._pending_shutdown.wait()

    def close(self) -> None:
        """Shut every server down. A second call, or a call in a forked child, does nothing. Raises the first error."""
        atexit.unregister(self.close)
        if os.getpid() != self._owner:
            return
        first_error: BaseException | None = None
        while self._servers:
            try:
                self._pending_shutdown.add(self._servers.popitem()[1])
            except (EngineError, KeyboardInterrupt) as error:
                first_error = first_error or error
        if self._close_waits:
            try:
                self._pending_shutdown.wait()
            except (EngineError, KeyboardInterrupt) as error:
                first_error = first_error or error
        if first_error is not None:
            raise first_error

    def _reuse(self, spec: ServerSpec, progress: Progress) -> Lease | None:
        pooled = self._servers.get(spec)
        if pooled is None:
            return None
        if not pooled.server.alive():
            progress.say(f"the {_noun(spec)} has died since the last point: restarting it")
            return None
        if spec.cache_reset == "restart":
            progress.status(f"starting the {_noun(spec)} again: its caches cannot be emptied otherwise")
            return None
        drain = self._drain(pooled.server, progress)
        if drain is not None and not drain.empty:
            progress.say(f"restarting the {_noun(spec)}: not empty in time")
            return None
        log_offset = size(pooled.server.log)
        proven = pooled.server.reset()
        if proven is False and spec.cache_reset != "none":
            progress.say(f"the {_noun(spec)} did not confirm that its caches are empty: restarting it")
            return None
        if pooled.restart_router is not None:
            pooled.restart_router(progress)
        return pooled.lease(fresh=False, cache_reset=proven, drain=drain, log_offset=log_offset)

    def _restart_is_intended(self, spec: ServerSpec) -> bool:
        """Return whether a server is started again only because its caches cannot be emptied otherwise."""
        return spec.cache_reset == "restart" and self._servers[spec].server.alive()

    def _drain(self, server: object, progress: Progress) -> Drain | None:
        """Wait until a server is empty if the last point overloaded it; None if it did not."""
        overloaded, self.overloaded = self.overloaded, False
        controls = getattr(server, "controls", ())  # an offline engine has none, and works on one call at a time
        if not overloaded or not controls:
            return None
        drains = [wait_until_empty(control, progress) for control in controls]
        drain = Drain(wall_s=sum(d.wall_s for d in drains), empty=all(d.empty for d in drains))
        if drain.wall_s > 1:
            state = "empty" if drain.empty else "not empty"
            progress.say(f"waited {drain.wall_s:.1f} s after the overload: the server is {state}")
        return drain

    def _make_room(self, progress: Progress, specs: list[ServerSpec]) -> None:
        for spec in specs:
            self._pending_shutdown.add(self._servers.pop(spec))
        if self._pending_shutdown.pending:
            progress.status("stopping the previous server")
            self._pending_shutdown.wait_memory_released()

    def _start(
        self,
        spec: ServerSpec,
        progress: Progress,
        ready_timeout_s: float,
        stop_timeout_s: float,
        headers: Mapping[str, str],
        start_phase: StartPhase,
        *,
        announce: bool = True,
    ) -> _PooledServer:
        self.overloaded = False
        self.log = self._new_log()
        self.starts += 1
        if announce:
            self.on_start()
        with ExitStack() as claims:
            count = sum(replica.gpus for replica in spec.replicas) or spec.gpus
            claimed = claims.enter_context(gpus.claim(count)) if count else ()
            before_mib = gpus.used_mib(claimed) if claimed else {}
            server, restart_router = self._launch(
                spec,
                claimed,
                progress,
                headers,
                ready_timeout_s=ready_timeout_s,
                stop_timeout_s=stop_timeout_s,
                start_phase=start_phase,
            )
            pooled = _PooledServer(
                server=server,
                claims=claims.pop_all(),
                gpus=claimed,
                gpus_before_mib=before_mib,
                restart_router=restart_router,
            )
        self._servers[spec] = pooled
        self._pending_shutdown.wait()  # the previous server must not run during a measurement
        progress.say(f"{_noun(spec)} ready after {server.start_s:.1f} s")
        return pooled

    def _launch(
        self,
        spec: ServerSpec,
        claimed: tuple[int, ...],
        progress: Progress,
        headers: Mapping[str, str],
        **options: Any,
    ) -> tuple[HttpServer | OfflineWorker | ReplicaServers, Callable[[Progress], None] | None]:
        """Start the program or programs of a spec on claimed GPUs, and wait until they are ready.

        options: of each program: its timeouts and start_phase. Returns also how its router is started again.
        """
        # start-up time: psutil takes 7 ms, and attached servers do not need it
        from benchhydra.servers.http_server import HttpServer
        from benchhydra.servers.replicas import ReplicaServers
        from benchhydra.servers.worker import OfflineWorker

        assert self.log is not None

        def start(member: ServerSpec, number: int, log: Path) -> HttpServer:
            env = dict(member.env) | _visible_gpus(_part(claimed, spec, number))
            return HttpServer(member, env, log, headers=headers, **options)

        if spec.replicas:
            replicas = ReplicaServers(spec, self._more_logs(len(spec.replicas)), start)
            replicas.wait_ready(progress)
            return replicas, replicas.restart_router
        env = dict(spec.env) | _visible_gpus(claimed)
        if spec.kind == "worker":
            return OfflineWorker(spec, env, self.log, progress, **options), None
        server = HttpServer(spec, env, self.log, headers=headers, **options)
        server.wait_ready(progress)
        return server, None

    def _attach(
        self, spec: ServerSpec, headers: Mapping[str, str], progress: Progress, ready_timeout_s: float
    ) -> Lease:
        """Return a lease on a server that benchhydra did not start. Raises EngineError if it does not answer.

        A server that did not become ready for a point is not waited for again: the points after it fail at once.
        """
        timeout_s = 0.0 if spec in self._unready else ready_timeout_s
        self._unready.add(spec)
        kind = AttachedServers if spec.base_urls else AttachedServer
        server = kind(spec, headers, progress, ready_timeout_s=timeout_s)
        if server.ready:
            self._unready.discard(spec)
        return Lease(
            server=server,
            base_url=server.base_url,
            api_path=server.api_path,
            replica_urls=server.replica_urls,
            fresh=False,
            drain=self._drain(server, progress),
            cache_reset=server.reset(),
            verify_tls=spec.verify_tls,
            ca_file=spec.ca_file,
        )

    def _more_logs(self, count: int) -> list[Path]:
        """Return the log that was made last, and ``count`` new ones beside it: for each replica and the router."""
        assert self.log is not None
        logs = [self.log, *(self.log.with_name(f"{self.log.stem}-{number}.log") for number in range(1, count + 1))]
        for log in logs[1:]:
            log.touch()
        return logs

    def _new_log(self) -> Path:
        """Create a new, empty log file and return its path. Raises EngineError."""
        number = self.starts
        try:
            self.log_dir.mkdir(parents=True, exist_ok=True)
            while True:
                number += 1
                path = self.log_dir / f"server-{number}.log"
                try:
                    path.touch(exist_ok=False)
                except FileExistsError:
                    continue
                return path
        except OSError as error:
            raise EngineError(f"cannot write a server log to {self.log_dir}: {error.strerror}") from error


def _visible_gpus(claimed: tuple[int, ...]) -> dict[str, str]:
    """Return environment variables that limit a process to the claimed GPUs (CUDA then numbers GPUs like NVML)."""
    if not claimed:
        return {}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, claimed))}


def _part(claimed: tuple[int, ...], spec: ServerSpec, number: int) -> tuple[int, ...]:
    """Return the GPUs of one replica; none for the router (-1)."""
    if number < 0:
        return ()
    first = sum(replica.gpus for replica in spec.replicas[:number])
    return claimed[first : first + spec.replicas[number].gpus]


def _noun(spec: ServerSpec) -> str:
    if spec.replicas:
        return f"{len(spec.replicas)} servers"
    return "offline engine" if spec.kind == "worker" else "server"
