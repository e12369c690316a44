"""An engine's process: it runs under a supervisor in a process group of its own, and ``stop`` ends its whole tree."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from benchhydra.errors import EngineError
from benchhydra.redaction import redact_file

SUPERVISOR = Path(__file__).with_name("_supervise.py")
#: Time in addition to the stop timeout for the supervisor to kill and reap the remaining processes.
REAP_S = 12.0
#: Short, because an engine that was never ready has nothing to clean up, and a starting vLLM ignores SIGTERM.
STOP_EARLY_TIMEOUT_S = 1.0


class EngineProcess:
    """A running engine. ``pid`` is its supervisor's, the root of its process tree. Raises EngineError on start."""

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], log: Path, *, stop_timeout_s: float, piped: bool = False
    ) -> None:
        self.log = log
        self.stop_timeout_s = stop_timeout_s
        self.started_ns = time.monotonic_ns()
        supervised = [sys.executable, "-I", "-S", str(SUPERVISOR), str(os.getpid()), str(stop_timeout_s), *argv]
        try:
            with log.open("ab") as file:
                self._popen = subprocess.Popen(
                    supervised,
                    stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if piped else file,
                    stderr=file,
                    env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
                    process_group=0,  # not a session: see decision 39
                    bufsize=0,
                )
        except (OSError, ValueError) as error:
            hint = "ulimit -u is the limit of this user's processes" if isinstance(error, BlockingIOError) else ""
            raise EngineError(
                f"cannot start {argv[0]}: {getattr(error, 'strerror', None) or error}", hint=hint
            ) from error
        self.pid = self._popen.pid
        self._terminated: list[psutil.Process] | None = None  # the tree as it was when SIGTERM was sent
        self.stdin, self.stdout = self._popen.stdin, self._popen.stdout

    @property
    def exit_code(self) -> int | None:
        """The engine's exit code (128 + N after signal N); None while it runs."""
        return self._popen.poll()

    @property
    def age_s(self) -> float:
        """Seconds since the start."""
        return (time.monotonic_ns() - self.started_ns) / 1e9

    def tree(self) -> list[psutil.Process]:
        """Return the supervisor and all its descendants; [] if it has ended."""
        try:
            root = psutil.Process(self.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def wait(self, timeout_s: float) -> bool:
        """Return whether the engine ends within ``timeout_s``. A pidfd wakes at once; Popen.wait polls every 50 ms."""
        if self._popen.poll() is None:
            with contextlib.suppress(OSError):  # a kernel without pidfd
                _wait_ended(self.pid, timeout_s)
                timeout_s = 0.0
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def terminate(self) -> None:
        """Send SIGTERM, once, and do not wait."""
        if self._terminated is None:
            self._terminated = self.tree()
            with contextlib.suppress(ProcessLookupError):
                self._popen.terminate()

    def wait_memory_released(self) -> None:
        """Terminate the engine and wait until it has released its memory.

        If the engine's first process has children that hold the memory, as vLLM's does, wait only for these: the first
        process takes longer to shut its interpreter down, and holds none of that memory.
        """
        self.terminate()
        tree = self._terminated or []
        first, below = tree[1:2], tree[2:]
        engine = [process for process in below if not _is_resource_tracker(process)] or first
        deadline = time.monotonic() + self.stop_timeout_s + REAP_S
        while any(map(_is_running, engine)) and self.exit_code is None and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self) -> None:
        """Send SIGTERM, wait, send SIGKILL to the remaining processes; then hide secrets in the log.

        Raises EngineError if a process still runs.
        """
        self.terminate()
        if not self.wait(self.stop_timeout_s + REAP_S):
            self._popen.kill()
            self._popen.wait(REAP_S)
        self._close_pipes()
        self._kill([process for process in self._terminated or () if process.pid != self.pid])
        with contextlib.suppress(OSError):  # the log was deleted, or the disk is full
            redact_file(self.log)

    def stop_early(self) -> None:
        """``stop`` for an engine that was never ready: kill it after ``STOP_EARLY_TIMEOUT_S``."""
        self.terminate()
        if not self.wait(min(STOP_EARLY_TIMEOUT_S, self.stop_timeout_s)):
            self._popen.terminate()  # at the second SIGTERM the supervisor kills
        self.stop()

    def _kill(self, processes: list[psutil.Process]) -> None:
        """Kill processes that outlived the supervisor (it was killed itself, or failed to kill them)."""
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        _, running = psutil.wait_procs(processes, timeout=REAP_S)
        if running:
            raise EngineError(f"cannot stop the engine's processes {', '.join(str(p.pid) for p in running)}")

    def _close_pipes(self) -> None:
        for pipe in (self.stdin, self.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _is_running(process: psutil.Process) -> bool:
    """Return whether a process runs. A zombie does not: it holds no memory."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _is_resource_tracker(process: psutil.Process) -> bool:
    """Return whether a process is Python's resource tracker, which exits after all others."""
    try:
        return any("resource_tracker" in word for word in process.cmdline())
    except psutil.Error:
        return False


def _wait_ended(pid: int, timeout_s: float) -> None:
    """Sleep until a child ends, without reaping it, or ``timeout_s`` passes. Raises OSError without pidfd support."""
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(timeout_s * 1000)
    finally:
        os.close(pidfd)


def describe_exit(code: int) -> str:
    """Return an exit code in words, to follow a program's name: "exited with code 1", "was killed by SIGKILL"."""
    if code > 128:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(code - 128).name}"
    return f"exited with code {code}"
