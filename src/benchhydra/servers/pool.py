"""The pool: servers belong to groups of points. Equal specs share one server, after a proven reset of its caches."""

from __future__ import annotations

import atexit
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchhydra.engines import ServerSpec
from benchhydra.errors import EngineError
from benchhydra.fetch import check_base_url
from benchhydra.progress import Progress
from benchhydra.servers import Lease, gpus
from benchhydra.servers.control import ControlPlane
from benchhydra.servers.http_server import HttpServer
from benchhydra.servers.shutdown import PendingShutdown
from benchhydra.servers.worker import OfflineWorker


@dataclass(kw_only=True)
class _Running:
    """A server of ours, the GPUs that it holds, and how much of its log belongs to points that are over."""

    server: HttpServer | OfflineWorker
    claims: ExitStack
    gpus: tuple[int, ...] = ()
    gpus_before_mib: dict[int, int] = field(default_factory=dict)
    warmed: dict[str, tuple[int, int]] = field(default_factory=dict)

    def leave(self) -> None:
        """Tell it to end, and do not wait."""
        self.server.leave()

    def free(self) -> None:
        """Wait until its memory and that of its GPUs is free, and give them back."""
        self.server.free()
        with self.claims:
            held, self.gpus = self.gpus, ()
            if held and not gpus.wait_released(held, self.gpus_before_mib):
                raise EngineError(f"memory of GPUs {', '.join(map(str, held))} is still in use after the engine's end")

    def stop(self) -> None:
        """The same, and wait until nothing of it is left."""
        try:
            self.server.stop()
        finally:
            self.free()


@dataclass(kw_only=True)
class _ServerLease(Lease):
    """A lease on a server of ours or, with ``control`` alone, on an attached one."""

    server: HttpServer | OfflineWorker | None = None
    control: ControlPlane | None = None

    def call(self, request: dict[str, Any], *, timeout_s: float | None = None) -> dict[str, Any]:
        if not isinstance(self.server, OfflineWorker):
            return super().call(request, timeout_s=timeout_s)
        return self.server.call(request, timeout_s)

    def reset(self) -> bool | None:
        if self.server is not None:
            return self.server.reset()
        return self.control.reset_caches() if self.control is not None else None


class ServerPool:
    """Servers of one group of points. At most one runs at a time, unless ``keep``.

    A server starts when the memory of the one before it is free, and is used when nothing at all is left of that.
    ``departures`` is where the last one goes when the pool is closed, and who gives it must wait for it; without it
    ``close`` waits. ``starts`` counts servers; ``on_start`` is called whenever it has grown.
    """

    def __init__(self, log_dir: Path, *, keep: bool = False, departures: PendingShutdown | None = None) -> None:
        self.log_dir = log_dir
        self.starts = 0
        self.on_start: Callable[[], None] = lambda: None
        self.log: Path | None = None  # of the server started last, also where it failed
        self._keep = keep
        self._departures = departures or PendingShutdown()
        self._waits = departures is None
        self._running: dict[ServerSpec, _Running] = {}
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
    ) -> Iterator[Lease]:
        """A server for one point: the running one where its caches can be proven empty, else a new one."""
        if spec.kind == "attached":
            yield _attached(spec, headers)
            return
        reused = self._reuse(spec, progress)
        if reused is not None:
            yield reused
            return
        restarted = spec in self._running
        self._make_room(spec, progress)
        running = self._start(spec, progress, ready_timeout_s, stop_timeout_s, headers)
        progress.say(f"{_noun(spec)} ready after {running.server.start_s:.1f} s")
        yield _leased(running, restarted=restarted, start_s=running.server.start_s)

    def close(self) -> None:
        """End every server. Doing it twice, or in a forked child, does nothing."""
        atexit.unregister(self.close)
        if os.getpid() != self._owner:
            return
        first: BaseException | None = None
        while self._running:
            try:
                self._departures.add(self._running.popitem()[1])
            except (EngineError, KeyboardInterrupt) as error:
                first = first or error
        if self._waits:
            try:
                self._departures.wait()
            except (EngineError, KeyboardInterrupt) as error:
                first = first or error
        if first is not None:
            raise first

    def _reuse(self, spec: ServerSpec, progress: Progress) -> Lease | None:
        running = self._running.get(spec)
        if running is None:
            return None
        if not running.server.alive():
            progress.say(f"the {_noun(spec)} has died since the last point: starting it again")
            return None
        offset = running.server.log.stat().st_size
        proven = running.server.reset()
        if proven is False:
            progress.say(f"the {_noun(spec)} did not prove that its caches are empty: starting it again")
            return None
        return _leased(running, fresh=False, cache_reset=proven, log_offset=offset)

    def _make_room(self, spec: ServerSpec, progress: Progress) -> None:
        for other in [s for s in self._running if s == spec or not self._keep]:
            self._departures.add(self._running.pop(other))
        if self._departures.pending:
            progress.status("stopping the server before this one")
            self._departures.make_room()

    def _start(
        self,
        spec: ServerSpec,
        progress: Progress,
        ready_timeout_s: float,
        stop_timeout_s: float,
        headers: Mapping[str, str],
    ) -> _Running:
        self.log = self._new_log()
        self.starts += 1
        self.on_start()
        with ExitStack() as claims:
            held = claims.enter_context(gpus.claim(spec.gpus)) if spec.gpus else ()
            before_mib = gpus.used_mib(held) if held else {}
            env = dict(spec.env) | _visible(held)
            limits = {"ready_timeout_s": ready_timeout_s, "stop_timeout_s": stop_timeout_s}
            server: HttpServer | OfflineWorker
            if spec.kind == "worker":
                server = OfflineWorker(spec, env, self.log, progress, **limits)
            else:
                server = HttpServer(spec, env, self.log, progress, headers=headers, **limits)
            running = _Running(server=server, claims=claims.pop_all(), gpus=held, gpus_before_mib=before_mib)
        self._running[spec] = running
        self._departures.wait()  # nothing is measured beside it
        return running

    def _new_log(self) -> Path:
        """A log file that nobody else writes to."""
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


def _attached(spec: ServerSpec, headers: Mapping[str, str]) -> Lease:
    """A lease on somebody else's server. Raises EngineError where it does not answer."""
    base_url = check_base_url("engine.base_url", spec.base_url)
    control = ControlPlane(base_url=base_url, headers=headers, verify_tls=spec.verify_tls, ca_file=spec.ca_file)
    try:
        answer = control.fetch("/v1/models")
    except OSError as error:
        text = error.strerror or str(error) or type(error).__name__
        hint = "engine.base_url=http://HOST:PORT"
        if isinstance(error, ssl.SSLCertVerificationError):
            hint = "engine.ca_file=CERTIFICATES to trust it, or engine.verify_tls=false"
        raise EngineError(f"no server answers at {base_url}: {text}", hint=hint) from error
    if answer.status in (401, 403):
        raise EngineError(f"{base_url} refuses the API key ({answer.status})", hint="engine.api_key_env=VARIABLE")
    if answer.status >= 500:
        raise EngineError(f"{base_url} answers {answer.status} to /v1/models")
    return _ServerLease(
        base_url=base_url,
        fresh=False,
        cache_reset=control.reset_caches(),
        verify_tls=spec.verify_tls,
        ca_file=spec.ca_file,
        control=control,
    )


def _leased(running: _Running, **facts: Any) -> Lease:
    server = running.server
    return _ServerLease(
        base_url=server.base_url if isinstance(server, HttpServer) else "",
        log=server.log,
        pid=server.process.pid,
        gpus=running.gpus,
        warmed=running.warmed,
        server=server,
        **facts,
    )


def _visible(held: tuple[int, ...]) -> dict[str, str]:
    """Environment that shows a process its GPUs alone, numbered as NVML does."""
    if not held:
        return {}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, held))}


def _noun(spec: ServerSpec) -> str:
    return "offline engine" if spec.kind == "worker" else "server"
