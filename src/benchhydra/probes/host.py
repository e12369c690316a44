"""The probe ``host``: who uses the cores, and what the machine lacks: cores, memory, disks, network; CPU energy."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from benchhydra.facts import fact
from benchhydra.probes import Probe, ProbeTarget, Sample
from benchhydra.probes._kernel_counters import Counter, available_memory_mib, rapl_domains, read_counters
from benchhydra.probes._processes import RunDelay, busy_s_by_core, cpu_s, process_tree, run_delays
from benchhydra.probes._slow_reading import SlowReading

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
#: Listing all processes takes some ms (2 ms for 100), and so does reading the waits of 200 threads.
LISTING_INTERVAL_S, WAITS_INTERVAL_S = 2.0, 0.5


class HostProbe(Probe):
    """Samples what ``CpuGroups``, ``ServerWaits`` and ``MachineCounters`` read."""

    name: ClassVar[str] = "host"

    def start(self, target: ProbeTarget) -> None:
        self._cpu = CpuGroups(target)
        self._waits = ServerWaits(self._cpu)
        self._machine = MachineCounters()

    def sample(self) -> Iterator[Sample]:
        yield from self._cpu.sample()
        yield from self._waits.sample()
        yield from self._machine.sample()

    def stop(self) -> Mapping[str, Any]:
        return self._cpu.facts()


class _CpuTimes(NamedTuple):
    time_s: float
    busy_s: dict[int, float]  # CPU time of all processes, by core
    client_s: float  # CPU time of the client's process tree without the server's
    server_s: float  # CPU time of the server's process tree


class CpuGroups:
    """Compares the machine's CPU counters with those of the client's and the server's processes.

    The cores of a run are those that the client's and the server's first process may use. If benchhydra did not start
    the server, its processes cannot be distinguished from others, so the fact is absent.
    """

    def __init__(self, target: ProbeTarget) -> None:
        self.server: set[int] = set()
        self._target = target
        client_cores = os.sched_getaffinity(target.client_pid)
        server_cores = _cores_of(target.server_pid) or client_cores
        self._cores = client_cores | server_cores
        self._core_groups = {"client": client_cores, "server": server_cores}
        if client_cores == server_cores:
            self._core_groups = {"client" if target.server_pid is None else "client and server": client_cores}
        self._listing = SlowReading(LISTING_INTERVAL_S)
        self._first: _CpuTimes | None = None

    def sample(self) -> Iterator[Sample]:
        """Yield the use since the last sample: of the run's cores by processes, and of groups of cores by anybody."""
        if self._first is None:
            self._first = self._previous = self._read(list_processes=True)
            return
        now = self._read(list_processes=self._listing.due())
        if now.time_s - self._previous.time_s < LEAST_SAMPLE_S:
            return
        for group, fraction in self._fractions(self._previous, now).items():
            yield Sample("cpu_fraction", "fraction", fraction, {"group": group})
        for group, fraction in self._busy_fractions(self._previous, now).items():
            yield Sample("core_busy_fraction", "fraction", fraction, {"cores": group})
        self._previous = now

    def facts(self) -> Mapping[str, Any]:
        """Return the use by others since the first sample, if that was long enough ago."""
        now = self._read(list_processes=True)
        if self._first is None or self._target.server_pid is None or now.time_s - self._first.time_s < LEAST_S:
            return {}
        return {OTHER_CPU_FRACTION: self._fractions(self._first, now)["others"]}

    def _fractions(self, before: _CpuTimes, after: _CpuTimes) -> dict[str, float]:
        """Return the part of the run's cores that each group of processes used between two readings."""
        available_s = (after.time_s - before.time_s) * len(self._cores)
        client_s, server_s = after.client_s - before.client_s, after.server_s - before.server_s
        rest_s = _busy_s(before, after, self._cores) - client_s - server_s
        used_s = {"client": client_s, "server": server_s, "others": rest_s}
        if self._target.server_pid is None:
            used_s = {"client": client_s, "server or others": rest_s}
        return {group: max(0.0, seconds) / available_s for group, seconds in used_s.items()}

    def _busy_fractions(self, before: _CpuTimes, after: _CpuTimes) -> dict[str, float]:
        """Return the part of each group of cores that was used by any process."""
        groups = {**self._core_groups, "others": after.busy_s.keys() - self._cores}
        elapsed_s = after.time_s - before.time_s
        return {
            group: _busy_s(before, after, cores) / (elapsed_s * len(cores)) for group, cores in groups.items() if cores
        }

    def _read(self, *, list_processes: bool) -> _CpuTimes:
        if list_processes:
            self._listing.run(self._list_processes)
        return _CpuTimes(time.monotonic(), busy_s_by_core(), cpu_s(self._client), cpu_s(self.server))

    def _list_processes(self) -> None:
        roots = self._target.server_pids or (self._target.server_pid,)
        self.server = process_tree(pid for pid in roots if pid is not None)
        self._client = process_tree([self._target.client_pid]) - self.server


class ServerWaits:
    """How long the server's threads waited for a core, as a part of the time in which they could have run."""

    def __init__(self, groups: CpuGroups) -> None:
        self._groups = groups
        self._reading = SlowReading(WAITS_INTERVAL_S)
        self._begun = False
        self._previous: dict[int, RunDelay] | None = None
        self._now: dict[int, RunDelay] = {}

    def sample(self) -> Iterator[Sample]:
        """Yield the part since the last reading; threads that have ended since then do not count.

        The first sample is left out, because the load waits for it.
        """
        begun, self._begun = self._begun, True
        if not begun or not self._groups.server or not self._reading.due():
            return
        self._reading.run(self._read)
        if self._previous is not None:
            started = RunDelay(0, 0)
            deltas = [(now, self._previous.get(thread, started)) for thread, now in self._now.items()]
            ran_ns = sum(now.ran_ns - before.ran_ns for now, before in deltas)
            waited_ns = sum(now.waited_ns - before.waited_ns for now, before in deltas)
            if ran_ns + waited_ns > 0:
                yield Sample("server_wait_fraction", "fraction", waited_ns / (ran_ns + waited_ns))
        self._previous = self._now

    def _read(self) -> None:
        self._now = run_delays(self._groups.server)


class MachineCounters:
    """Counters of the whole machine as rates since the last sample, its free memory, and the energy of its CPUs."""

    def __init__(self) -> None:
        self._domains = rapl_domains()
        self._previous: dict[tuple[str, ...], Counter] = {}
        self._previous_s = 0.0

    def sample(self) -> Iterator[Sample]:
        """Yield the rates, the memory and the energy."""
        for domain in self._domains:
            yield Sample("energy_j", "J", domain.energy_j(), {"domain": domain.name})
        memory_mib = available_memory_mib()
        if memory_mib is not None:
            yield Sample("memory_available_mib", "MiB", memory_mib)
        yield from self._rates()

    def _rates(self) -> Iterator[Sample]:
        now_s = time.monotonic()
        counters = {(counter.name, *counter.labels.values()): counter for counter in read_counters()}
        elapsed_s = now_s - self._previous_s
        if self._previous and elapsed_s < LEAST_SAMPLE_S:
            return
        for key, counter in counters.items():
            if key in self._previous:
                grown = max(0.0, counter.value - self._previous[key].value)
                yield Sample(counter.name, counter.unit, grown / elapsed_s, counter.labels)
        self._previous, self._previous_s = counters, now_s


def _cores_of(pid: int | None) -> set[int]:
    """Return the cores that a process may use; empty if it is unknown or has ended."""
    try:
        return set() if pid is None else os.sched_getaffinity(pid)
    except OSError:
        return set()


def _busy_s(before: _CpuTimes, after: _CpuTimes, cores: set[int]) -> float:
    return sum(after.busy_s.get(core, 0.0) - before.busy_s.get(core, 0.0) for core in cores)
