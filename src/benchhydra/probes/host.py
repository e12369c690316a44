"""The probe ``host``: CPU use by the client, its server and other processes, on the cores that this run may use."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from benchhydra.facts import fact
from benchhydra.probes import Probe, ProbeTarget, Sample
from benchhydra.probes._processes import busy_s, cpu_s, process_tree

OTHER_CPU_FRACTION = fact(
    "other_cpu_fraction",
    unit="fraction",
    doc="part of the cores of this run that was used by processes that are neither the client's nor the server's",
    in_metadata=True,
)
#: Minimum time for a fact: the kernel's counters tick 100 times a second, so a shorter one is too inexact ...
LEAST_S = 1.0
#: ... and minimum time between two samples.
LEAST_SAMPLE_S = 0.1
#: Listing all processes takes some ms (2 ms for 100). So list them at most this often, and at most once in this many
#: times the CPU time that the listing took; in between, read only the processes of the last listing.
WALK_INTERVAL_S = 2.0
WALK_INTERVAL_RATIO = 500


class _CpuTimes(NamedTuple):
    time_s: float
    busy_s: float  # CPU time of all processes on the cores that the client may use
    client_s: float  # CPU time of the client's process tree without the server's
    server_s: float  # CPU time of the server's process tree


class HostProbe(Probe):
    """Compares the machine's CPU counters with those of the client's and the server's processes.

    If benchhydra did not start the server, its processes cannot be distinguished from others, so the fact is absent.
    """

    name: ClassVar[str] = "host"

    def start(self, target: ProbeTarget) -> None:
        self._target = target
        self._cores = os.sched_getaffinity(target.client_pid)
        self._first: _CpuTimes | None = None

    def sample(self) -> Iterator[Sample]:
        if self._first is None:
            self._first = self._previous = self._read(walk=True)
            return
        now = self._read(walk=time.monotonic() >= self._next_walk_s)
        if now.time_s - self._previous.time_s < LEAST_SAMPLE_S:
            return
        for group, fraction in self._fractions(self._previous, now).items():
            yield Sample("cpu_fraction", "fraction", fraction, {"group": group})
        self._previous = now

    def stop(self) -> Mapping[str, Any]:
        now = self._read(walk=True)
        if self._first is None or self._target.server_pid is None or now.time_s - self._first.time_s < LEAST_S:
            return {}
        return {OTHER_CPU_FRACTION: self._fractions(self._first, now)["others"]}

    def _fractions(self, before: _CpuTimes, after: _CpuTimes) -> dict[str, float]:
        """Return the part of the client's cores that each group of processes used between two readings."""
        available_s = (after.time_s - before.time_s) * len(self._cores)
        client_s, server_s = after.client_s - before.client_s, after.server_s - before.server_s
        rest_s = after.busy_s - before.busy_s - client_s - server_s
        used_s = {"client": client_s, "server": server_s, "others": rest_s}
        if self._target.server_pid is None:
            used_s = {"client": client_s, "server or others": rest_s}
        return {group: max(0.0, seconds) / available_s for group, seconds in used_s.items()}

    def _read(self, *, walk: bool) -> _CpuTimes:
        if walk:
            self._walk()
        return _CpuTimes(time.monotonic(), busy_s(self._cores), cpu_s(self._client), cpu_s(self._server))

    def _walk(self) -> None:
        begin_s = time.thread_time()
        server_pid = self._target.server_pid
        self._server = process_tree([] if server_pid is None else [server_pid])
        self._client = process_tree([self._target.client_pid]) - self._server
        took_s = time.thread_time() - begin_s
        self._next_walk_s = time.monotonic() + max(WALK_INTERVAL_S, WALK_INTERVAL_RATIO * took_s)
