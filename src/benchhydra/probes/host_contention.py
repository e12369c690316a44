"""Who else used our cores and GPUs while a load ran: the machine's counters less those of our own processes."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchhydra import environment
from benchhydra.servers import Lease

_IDLE = (3, 4)  # idle and iowait, in a line of /proc/stat
_GUEST = 8  # guest times are in user's already


class _Reading(NamedTuple):
    at_s: float
    busy_s: float | None  # of all cores that we may use
    ours_s: float | None  # of our process, our server, and all that they started
    ran_ns: int | None  # CPU time of this thread
    waited_ns: int | None  # time that this thread was runnable, and another one ran


class HostContentionMonitor:
    """Begins where it is made. What cannot be read is unknown: a server of which we know no process, or no /proc."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._strangers: tuple[int, ...] = ()
        self._begin = self._end = self._read()

    def stop(self) -> None:
        """The load has ended."""
        self._end = self._read()
        self._strangers = _gpu_strangers(self._lease)

    def facts(self, client_processes: int) -> dict[str, Any]:
        """Fields of ``Facts``. Only a client that is this process itself has its waits counted."""
        return {
            "other_cpu_share": self._other_cpu_share(),
            "other_gpu_pids": self._strangers,
            "client_wait_share": self._wait_share() if client_processes == 1 else None,
        }

    def _read(self) -> _Reading:
        ran_ns, waited_ns = _schedule()
        ours_s = None if self._lease.pid is None else _tree_s((os.getpid(), self._lease.pid))
        return _Reading(time.monotonic(), _busy_s(), ours_s, ran_ns, waited_ns)

    def _other_cpu_share(self) -> float | None:
        begin, end = self._begin, self._end
        wall_s = end.at_s - begin.at_s
        if None in (begin.busy_s, end.busy_s, begin.ours_s, end.ours_s) or wall_s < 1:
            return None  # counters tick 100 times a second
        assert begin.busy_s is not None and end.busy_s is not None
        assert begin.ours_s is not None and end.ours_s is not None
        others_s = (end.busy_s - begin.busy_s) - (end.ours_s - begin.ours_s)
        return max(0.0, others_s / wall_s / len(os.sched_getaffinity(0)))

    def _wait_share(self) -> float | None:
        begin, end = self._begin, self._end
        if begin.ran_ns is None or begin.waited_ns is None or end.ran_ns is None or end.waited_ns is None:
            return None
        ran_ns, waited_ns = end.ran_ns - begin.ran_ns, end.waited_ns - begin.waited_ns
        return waited_ns / (ran_ns + waited_ns) if ran_ns + waited_ns > 0 else None


def _busy_s() -> float | None:
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    names = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    ticks = 0
    for name, *values in (line.split() for line in lines if line.startswith("cpu")):
        if name in names:
            ticks += sum(int(value) for i, value in enumerate(values[:_GUEST]) if i not in _IDLE)
    return ticks / os.sysconf("SC_CLK_TCK")


def _tree_s(roots: tuple[int, ...]) -> float:
    """CPU seconds of processes and of all that they started, those that have ended among them."""
    import psutil

    total = 0.0
    for pid in _tree(roots):
        try:
            total += sum(psutil.Process(pid).cpu_times()[:4])  # user, system, and both of ended children
        except psutil.Error:
            continue
    return total


def _tree(roots: tuple[int, ...]) -> set[int]:
    import psutil

    found: set[int] = set()
    for root in roots:
        try:
            found |= {root, *(child.pid for child in psutil.Process(root).children(recursive=True))}
        except psutil.Error:
            continue
    return found


def _schedule() -> tuple[int | None, int | None]:
    try:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text(encoding="ascii")
        ran_ns, waited_ns, _ = text.split()
    except (OSError, ValueError):
        return None, None
    return int(ran_ns), int(waited_ns)


def _gpu_strangers(lease: Lease) -> tuple[int, ...]:
    if not lease.gpus or lease.pid is None:
        return ()
    ours = _tree((os.getpid(), lease.pid))
    users = {pid for gpu in environment.gpus() if gpu.index in lease.gpus for pid in gpu.pids}
    return tuple(sorted(users - ours))
