"""The probe ``host``: who used the cores that this run may use: the client, its server, or other processes."""

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
    doc="of the cores that this run may use, the part used by processes that are neither the client's nor the server's",
    in_metadata=True,
)
#: The counters tick 100 times a second: fractions of a shorter time are not exact enough for a fact ...
LEAST_S = 1.0
#: ... and not for a sample.
LEAST_SAMPLE_S = 0.1
#: Walking all processes takes some ms (2 ms for 100): between walks the processes of the last one are read, for this
#: long, and for this many times the CPU time that the walk took.
WALK_INTERVAL_S = 2.0
WALK_INTERVAL_RATIO = 500


class _Reading(NamedTuple):
    time_s: float
    busy_s: float  # of all cores that the client may use
    client_s: float  # of the client's process and all that it started, its server apart
    server_s: float


class HostProbe(Probe):
    """Compares the machine's counters with those of our own processes.

    Where the server's processes are not known (it was not started by us) they cannot be told from others: the fact is
    unknown then.
    """

    name: ClassVar[str] = "host"

    def start(self, target: ProbeTarget) -> None:
        self._target = target
        self._cores = os.sched_getaffinity(target.client_pid)
        self._first: _Reading | None = None

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

    def _fractions(self, before: _Reading, after: _Reading) -> dict[str, float]:
        """Of the cores that the client may use, what each group of processes used."""
        available_s = (after.time_s - before.time_s) * len(self._cores)
        client_s, server_s = after.client_s - before.client_s, after.server_s - before.server_s
        rest_s = after.busy_s - before.busy_s - client_s - server_s
        used_s = {"client": client_s, "server": server_s, "others": rest_s}
        if self._target.server_pid is None:
            used_s = {"client": client_s, "server or others": rest_s}
        return {group: max(0.0, seconds) / available_s for group, seconds in used_s.items()}

    def _read(self, *, walk: bool) -> _Reading:
        if walk:
            self._walk()
        return _Reading(time.monotonic(), busy_s(self._cores), cpu_s(self._client), cpu_s(self._server))

    def _walk(self) -> None:
        begin_s = time.thread_time()
        server_pid = self._target.server_pid
        self._server = process_tree([] if server_pid is None else [server_pid])
        self._client = process_tree([self._target.client_pid]) - self._server
        took_s = time.thread_time() - begin_s
        self._next_walk_s = time.monotonic() + max(WALK_INTERVAL_S, WALK_INTERVAL_RATIO * took_s)
