"""Process trees and their CPU time, read from /proc.

psutil would take 30 ms to import in the helper process, and ``pathlib`` 8 ms.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import NamedTuple

_PARENT, _CPU = 1, slice(11, 15)  # fields of /proc/PID/stat after the name: utime, stime, cutime, cstime
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def read_text(path: str) -> str:
    """Return the text of a file of /proc. Raises OSError."""
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        return file.read()


def process_tree(roots: Iterable[int]) -> set[int]:
    """Return the pids of the running ``roots`` and all their descendants. Reads all of /proc, which takes some ms."""
    children: dict[int, list[int]] = {}
    alive = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            alive.add(int(entry.name))
            children.setdefault(int(fields[_PARENT]), []).append(int(entry.name))
    tree: set[int] = set()
    pending = list(roots)
    while pending:
        pid = pending.pop()
        if pid in alive and pid not in tree:
            tree.add(pid)
            pending += children.get(pid, [])
    return tree


def cpu_s(pids: Iterable[int]) -> float:
    """Return CPU seconds of processes and of their children that have ended and were waited for (10 ms resolution)."""
    ticks = 0
    for pid in pids:
        ticks += sum(int(value) for value in _stat(pid)[_CPU])
    return ticks / TICKS_PER_S


def busy_s_by_core() -> dict[int, float]:
    """Return CPU seconds used by all processes on each core (10 ms resolution). Raises OSError without /proc/stat."""
    busy_s = {}
    for line in read_text("/proc/stat").splitlines():
        name, *values = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _idle, _iowait, *interrupts_and_steal = map(int, values[:8])  # guests are in user
            busy_s[int(name[3:])] = (user + nice + system + sum(interrupts_and_steal)) / TICKS_PER_S
        elif not name.startswith("cpu"):
            break
    return busy_s


class RunDelay(NamedTuple):
    """The kernel's account of a thread.

    ran_ns: its CPU time; waited_ns: the time it could have run and did not; turns: how often it was given a core.
    """

    ran_ns: int
    waited_ns: int
    turns: int = 0


def run_delay(pid: int, thread: int) -> RunDelay:
    """Return the account of a thread. Raises OSError if it has ended, or without schedstat in the kernel."""
    return RunDelay(*map(int, read_text(f"/proc/{pid}/task/{thread}/schedstat").split()))


def run_delays(pids: Iterable[int]) -> dict[int, RunDelay]:
    """Return the account of each running thread of processes, by its id. Takes 15 us a thread."""
    delays = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):
                    delays[int(entry.name)] = run_delay(pid, int(entry.name))
    return delays


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat after the name in parentheses; [] if the process has ended."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)  # takes half as long as pathlib
    except OSError:
        return []
    try:
        data = os.read(file, 4096)
    except OSError:
        return []
    finally:
        os.close(file)
    return data[data.rindex(b")") + 2 :].split()
