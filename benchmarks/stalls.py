"""When a core was taken away, by the host or inside the kernel: a process on each core that no program can delay.

``with witnessed_stalls() as stalls`` fills the list by the end of the block. Each process sleeps for 0.25 ms at a time
with real-time priority (SCHED_FIFO), as cyclictest does, and so needs 3 % of its core. If it wakes up late, the host
had the core, or a system call that the kernel does not interrupt. Raises PermissionError without the right to set that
priority (root, or CAP_SYS_NICE).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import numpy as np
import numpy.typing as npt

PERIOD_S = 0.00025
#: A wake-up that is later than this is a stall.
STALL_NS = 300_000


@contextlib.contextmanager
def witnessed_stalls() -> Iterator[list[tuple[int, int]]]:
    """Yield a list that holds (begin, end) of every stall of any core, monotonic ns, when the block has ended."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # here too, so that a missing right is an error
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    stalls: list[tuple[int, int]] = []
    context = multiprocessing.get_context("spawn")
    watchers = []
    for core in sorted(os.sched_getaffinity(0)):
        ours, theirs = context.Pipe()
        process = context.Process(target=_watch, args=(core, theirs), daemon=True)
        process.start()
        ours.recv()  # it watches
        watchers.append((process, ours))
    try:
        yield stalls
    finally:
        for process, pipe in watchers:
            pipe.send(None)
            stalls.extend(pipe.recv())
            process.join()


def _watch(core: int, pipe: Connection) -> None:
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    stalls: list[tuple[int, int]] = []
    pipe.send(None)
    before_ns = time.monotonic_ns()
    while True:
        time.sleep(PERIOD_S)
        now_ns = time.monotonic_ns()
        if now_ns - before_ns > STALL_NS + PERIOD_S * 1e9:
            stalls.append((before_ns, now_ns))
        if pipe.poll():
            break
        before_ns = time.monotonic_ns()
    pipe.send(stalls)


def overlapping(
    stalls: list[tuple[int, int]], begin_ns: npt.NDArray[np.int64], end_ns: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Return for each span whether a stall of any core overlaps it."""
    begins, ends = np.array(sorted(stalls), dtype=np.int64).reshape(-1, 2).T
    last_end = np.maximum.accumulate(np.concatenate([[np.iinfo(np.int64).min], ends]))
    return last_end[np.searchsorted(begins, end_ns)] >= begin_ns
