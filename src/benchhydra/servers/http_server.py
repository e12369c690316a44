"""An HTTP server that benchhydra starts on a free port. It is ready once its own process answers on that port."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from benchhydra.engines import ServerSpec
from benchhydra.engines.placeholders import fill_names
from benchhydra.errors import EngineError
from benchhydra.progress import Progress
from benchhydra.servers import LeasedServer, LeaseFields, ports
from benchhydra.servers.caches import reset_caches
from benchhydra.servers.health import ControlPlane
from benchhydra.servers.logs import StartPhase, start_activity, unknown_phase, with_log_tail
from benchhydra.servers.process import EngineProcess, describe_exit

#: Resolution of the start time: try to connect this often until the server listens ...
POLL_S = 0.01
#: ... and then check its health this often (a check takes some ms).
ASK_S = 0.05
#: How often to update the progress display meanwhile.
STATUS_S = 0.25
#: Another program may take the free port before the server does.
ATTEMPTS = 3
PORT_RELEASE_S = 10.0


class _PortTaken(EngineError):
    """Another program took the port between its choice and the server's start."""


class HttpServer(LeasedServer):
    """A started server. ``wait_ready`` returns when it is ready, or raises EngineError with the end of its log."""

    def __init__(
        self,
        spec: ServerSpec,
        env: Mapping[str, str],
        log: Path,
        *,
        ready_timeout_s: float,
        stop_timeout_s: float,
        headers: Mapping[str, str],
        start_phase: StartPhase = unknown_phase,
    ) -> None:
        self.log = log
        self.start_s = 0.0
        self._spec = spec
        self._env = env
        self._headers = headers
        self._ready_timeout_s = ready_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._start_phase = start_phase
        self._launch()

    def _launch(self) -> None:
        """Start the process on a free port."""
        spec = self._spec
        self.port = ports.free_port()
        if spec.config_file:
            names = {"host": "127.0.0.1", "port": str(self.port), "config": spec.config_file}
            Path(spec.config_file).write_text(fill_names(spec.config_text, names), encoding="utf-8")
        argv = spec.command("127.0.0.1", self.port)
        self.process = EngineProcess(argv, self._env, self.log, stop_timeout_s=self._stop_timeout_s)
        self._sockets: set[int] = set()  # inodes of its sockets at termination
        self.control = ControlPlane(
            base_url=f"http://127.0.0.1:{self.port}", api_path=spec.api_path, headers=self._headers, timeout_s=2.0
        )

    def wait_ready(self, progress: Progress, check: Callable[[], None] = lambda: None) -> None:
        """Return when the server is ready; start it again if another program took its port. Stops it on an error.

        check: called meanwhile; raises EngineError if waiting does not help.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self.start_s = self._wait_ready(progress, self._ready_timeout_s, check)
                return
            except BaseException as error:
                self.stop_early()
                if not isinstance(error, _PortTaken) or attempt == ATTEMPTS:
                    raise
            self._launch()

    @property
    def base_url(self) -> str:
        """The server's URL, without a path."""
        return self.control.base_url

    def lease_fields(self) -> LeaseFields:
        """Return where it is, its log and its process."""
        return {
            "base_url": self.base_url,
            "api_path": self.control.api_path,
            "log": self.log,
            "pid": self.process.pid,
            "started_ns": self.process.started_ns,
        }

    @property
    def controls(self) -> tuple[ControlPlane, ...]:
        """Its address, for requests apart from the load."""
        return (self.control,)

    def alive(self) -> bool:
        """Return whether its process runs and is the only listener on its port."""
        return self.process.exit_code is None and self._port_is_ours() is True

    def reset(self) -> bool:
        """Empty its caches. Returns True only if that is proven: without a reset endpoint it returns False."""
        return reset_caches(self.control, self.log, how=self._spec.cache_reset) is True

    def terminate(self) -> None:
        """Send SIGTERM, and do not wait."""
        self._sockets |= ports.sockets(process.pid for process in self.process.tree())
        self.process.terminate()

    def wait_memory_released(self) -> None:
        """Wait until the engine has released its memory."""
        self.process.wait_memory_released()

    def stop(self) -> None:
        """Stop all its processes, and wait until their listening sockets are closed."""
        self.terminate()
        self.process.stop()
        self._wait_port_released()

    def stop_early(self) -> None:
        """``stop`` for a server that was never ready."""
        self.terminate()
        self.process.stop_early()
        self._wait_port_released()

    def _wait_port_released(self) -> None:
        deadline = time.monotonic() + PORT_RELEASE_S
        while ports.listeners(self.port) & self._sockets and time.monotonic() < deadline:
            time.sleep(0.05)

    def _wait_ready(self, progress: Progress, timeout_s: float, check: Callable[[], None]) -> float:
        """Return the seconds until it was ready: the process runs, it owns the port, and ``/health`` succeeds."""
        next_status_s = 0.0
        while True:
            age_s = self.process.age_s
            self._check_alive()
            check()
            listens = ports.accepts(self.port)
            if listens and self._port_is_ours() and self.control.healthy(self._spec.ready_path):
                ready_s = self.process.age_s  # taken first, because the next check takes about 50 ms
                if self._port_is_ours():
                    return ready_s
            if age_s > timeout_s:
                text = f"the server was not ready after {timeout_s:g} s"
                raise EngineError(with_log_tail(text, self.log), hint="engine.ready_timeout_s=SECONDS")
            if age_s >= next_status_s:
                progress.status(f"server starting ({age_s:.0f} s){start_activity(self.log, self._start_phase)}")
                next_status_s = age_s + STATUS_S
            self.process.wait(ASK_S if listens else POLL_S)

    def require_running(self) -> None:
        """Raise EngineError if its process has ended and ``wait_ready`` would not start it again."""
        with suppress(_PortTaken):
            self._check_alive()

    def _check_alive(self) -> None:
        code = self.process.exit_code
        if code is not None:
            text = f"the server {describe_exit(code)} after {self.process.age_s:.1f} s"
            kind = _PortTaken if ports.listeners(self.port) else EngineError
            raise kind(with_log_tail(text, self.log))

    def _port_is_ours(self) -> bool:
        """Return whether only our process listens on the port. Raises _PortTaken if another program does."""
        pids = [process.pid for process in self.process.tree()]
        owned = ports.owned(self.port, pids)
        if owned is False and psutil.pid_exists(self.process.pid):
            raise _PortTaken(f"port {self.port} was taken by another program while the server started")
        return owned is True
