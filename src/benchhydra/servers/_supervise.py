"""The process between benchhydra and an engine: it ends the engine if the benchmark ends, even by SIGKILL.

It is run by path, isolated, with only the standard library, so that it starts in milliseconds. It is the leader of the
engine's process group and a child subreaper: every descendant of the engine stays below it, even one that changed its
session or lost its parent. It forwards SIGTERM to the engine, and kills all remaining processes after a timeout or at
a second SIGTERM. It does the same if the benchmark's process ends (watched with a pidfd). It also keeps the engine's
log, which is its own stderr, below a size: beyond it, the middle of the log is cut out.

    _supervise.py PARENT_PID STOP_TIMEOUT_S COMMAND...
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import stat
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
#: If the benchmark's process ended: time between SIGTERM and SIGKILL for the engine.
ORPHAN_TIMEOUT_S = 5.0
#: How long to keep killing remaining processes.
KILL_S = 10.0
#: How long Python's resource trackers, which exit after all other processes, get to clean up.
TRACKER_S = 3.0
#: How often to check the size of the log and, if the kernel has no pidfd, whether the parent still runs.
POLL_MS = 200
#: The size in bytes from which a log is cut, and what is left of its beginning and of its end.
LOG_LIMIT, LOG_HEAD, LOG_TAIL = 64 << 20, 8 << 20, 24 << 20


def prctl(option: int, value: int) -> None:
    """Call prctl(2). Failures are ignored, because the engine is ended in other ways too."""
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def spawn(command: list[str]) -> int:
    """Fork and execute the engine, and return its pid. The kernel kills it if this process is killed."""
    try:
        pid = os.fork()
    except OSError as error:  # the user's limit of processes, or no memory
        os.write(2, f"cannot start {command[0]}: {error.strerror}\n".encode())
        sys.exit(126)
    if pid:
        return pid
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode())
        os._exit(127)


def descendants(root: int) -> list[int]:
    """Return the pids of all descendants of ``root``, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                line = (entry / "stat").read_bytes()
                parent = int(line[line.rindex(b")") + 2 :].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    pids, pending = [], [root]
    while pending:
        below = children.get(pending.pop(), [])
        pids += below
        pending += below
    return pids


def is_resource_tracker(pid: int) -> bool:
    """Whether a process is a resource tracker of Python's multiprocessing."""
    with contextlib.suppress(OSError):
        return b"multiprocessing.resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def cut_log(fd: int, limit: int, head: int, tail: int) -> int:
    """Cut the middle out of a log that is longer than ``limit``; returns the number of bytes that were cut.

    The engine appends to the same file meanwhile; lines that it writes within these milliseconds may be lost.
    """
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size <= limit:
        return 0
    with Path(f"/proc/self/fd/{fd}").open("rb") as log:
        log.seek(status.st_size - tail)
        end = log.read(tail)
    end = end[end.find(b"\n") + 1 :]
    cut = status.st_size - head - len(end)
    os.ftruncate(fd, head)
    text = memoryview(b"\n[benchhydra: %d bytes of the log were cut here: it is longer than %d]\n" % (cut, limit) + end)
    while text:
        text = text[os.write(fd, text) :]
    return cut


class Supervisor:
    """Waits for the engine's end, for SIGTERM, or for the parent's end."""

    def __init__(self, parent: int, stop_timeout_s: float) -> None:
        self.parent = parent
        self.stop_timeout_s = stop_timeout_s
        self.stopping = self.killing = False
        self.status: int | None = None
        self.engine = 0
        self.poll = select.poll()
        self._listen()

    def run(self, command: list[str]) -> int:
        """Run the engine; returns its exit code (128 + N after signal N)."""
        self.engine = spawn(command)
        for fd in (0, 1):  # only the engine may hold these pipes, so that its exit is an end of file for the reader
            os.dup2(os.open(os.devnull, os.O_RDWR), fd)
        while self.status is None and not self.stopping and os.getppid() == self.parent:
            self._wait(POLL_MS)
            self._limit_log()
        if self.status is None:
            self._terminate(self.stop_timeout_s if self.stopping else ORPHAN_TIMEOUT_S)
        self._kill_rest()
        self._limit_log()
        code = os.waitstatus_to_exitcode(self.status) if self.status is not None else 137
        return code if code >= 0 else 128 - code

    def _listen(self) -> None:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.wake, wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop)
        self.poll.register(self.wake, select.POLLIN)
        with contextlib.suppress(OSError):  # a kernel without pidfd
            self.poll.register(os.pidfd_open(self.parent), select.POLLIN)

    def _on_stop(self, *_: object) -> None:
        self.killing = self.stopping  # the second time
        self.stopping = True

    def _limit_log(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: the engine goes on
            cut_log(2, LOG_LIMIT, LOG_HEAD, LOG_TAIL)

    def _wait(self, timeout_ms: int) -> None:
        """Sleep until a signal, the parent's end or the timeout, then reap ended children."""
        self.poll.poll(timeout_ms)
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake, 4096)
        self._reap()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self.engine:
                    self.status = status

    def _terminate(self, timeout_s: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.engine, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while self.status is None and time.monotonic() < deadline and not self.killing:
            self._pause()

    def _kill_rest(self) -> None:
        """Kill and reap all descendants; repeat, because a process in an uninterruptible call ends late.

        For ``TRACKER_S``, resource trackers may exit by themselves: they remove the shared memory of killed processes.
        """
        start_s = time.monotonic()
        while (pids := descendants(os.getpid())) and (elapsed_s := time.monotonic() - start_s) < KILL_S:
            for pid in pids:
                if elapsed_s < TRACKER_S and is_resource_tracker(pid):
                    continue
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._pause()
        self._reap()

    def _pause(self) -> None:
        """Sleep 20 ms. Do not poll the pidfd: it is always readable once the parent has ended."""
        time.sleep(0.02)
        self._reap()


if __name__ == "__main__":
    sys.exit(Supervisor(int(sys.argv[1]), float(sys.argv[2])).run(sys.argv[3:]))
