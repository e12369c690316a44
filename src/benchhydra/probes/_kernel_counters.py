"""The kernel's counters of the whole machine: pressure, page faults, swapping, network traffic, RAPL energy."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from benchhydra.probes._processes import read_text

RESOURCES = ("cpu", "memory", "io")
RAPL = "/sys/class/powercap"
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
#: Counter of /proc/vmstat -> the series of its rate, its unit, labels, and what one count is worth.
_VMSTAT = {
    "pgfault": ("page_faults_per_s", "faults/s", {"kind": "all"}, 1.0),
    "pgmajfault": ("page_faults_per_s", "faults/s", {"kind": "major"}, 1.0),
    "pswpin": ("swap_mib_per_s", "MiB/s", {"direction": "in"}, _PAGE_MIB),
    "pswpout": ("swap_mib_per_s", "MiB/s", {"direction": "out"}, _PAGE_MIB),
}


class Counter(NamedTuple):
    """A number that only grows. ``name``, ``unit`` and ``labels`` are those of the series of its growth per second."""

    name: str
    unit: str
    labels: dict[str, str]
    value: float


def read_counters() -> Iterator[Counter]:
    """Yield the counters that this kernel has."""
    with contextlib.suppress(OSError):
        yield from _vmstat()
    for resource in RESOURCES:
        with contextlib.suppress(OSError):  # a kernel without PSI, or with psi=0
            yield from _pressure(resource)
    with contextlib.suppress(OSError):
        yield from _traffic()


def available_memory_mib() -> float | None:
    """Return the memory that programs can have without swapping, as the kernel estimates it."""
    with contextlib.suppress(OSError):
        for line in read_text("/proc/meminfo").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 1024
    return None


class RaplDomain:
    """The energy counter of a CPU package, or of a part of it, by Intel's and AMD's RAPL; usually only root reads it.

    Raises OSError if it cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.name = _domain_name(path)
        self._path = f"{path}/energy_uj"
        self._range_uj = int(read_text(f"{path}/max_energy_range_uj"))
        self._previous_uj = int(read_text(self._path))
        self._total_uj = 0

    def energy_j(self) -> float:
        """Return the energy since this object was made. The counter begins again at 0 after its highest value."""
        now_uj = int(read_text(self._path))
        self._total_uj += (now_uj - self._previous_uj) % (self._range_uj + 1)
        self._previous_uj = now_uj
        return self._total_uj / 1e6


def rapl_domains(root: str = RAPL) -> list[RaplDomain]:
    """Return the domains of RAPL, Intel's or AMD's, whose counters this process may read."""
    domains = []
    with contextlib.suppress(OSError):
        for path in sorted(entry.path for entry in os.scandir(root) if entry.name.startswith("intel-rapl:")):
            with contextlib.suppress(OSError, ValueError):
                domains.append(RaplDomain(path))
    return domains


def _domain_name(path: str) -> str:
    """``.../intel-rapl:0`` -> ``package-0``; ``.../intel-rapl:0:1``, a part of it, -> ``package-0/dram``."""
    name = read_text(f"{path}/name").strip()
    package, _, part = path.rpartition(":")
    is_part = part.isdigit() and ":" in package.rsplit("/", 1)[-1]
    return f"{_domain_name(package)}/{name}" if is_part else name


def _vmstat() -> Iterator[Counter]:
    for line in read_text("/proc/vmstat").splitlines():
        name, _, value = line.partition(" ")
        if name in _VMSTAT:
            series, unit, labels, worth = _VMSTAT[name]
            yield Counter(series, unit, labels, int(value) * worth)


def _pressure(resource: str) -> Iterator[Counter]:
    """Yield the seconds in which some, or all, processes that are not idle waited for a resource."""
    for line in read_text(f"/proc/pressure/{resource}").splitlines():
        kind, *fields = line.split()
        if (resource, kind) != ("cpu", "full"):  # of the whole machine it is always 0
            total_us = int(fields[-1].removeprefix("total="))
            yield Counter("pressure_fraction", "fraction", {"resource": resource, "kind": kind}, total_us / 1e6)


def _traffic() -> Iterator[Counter]:
    """Yield the bytes of each interface that has had traffic, without containers' own (each has a bridge, too)."""
    for line in read_text("/proc/net/dev").splitlines()[2:]:
        interface, _, fields = line.partition(":")
        received, sent = int(fields.split()[0]), int(fields.split()[8])
        if (received or sent) and not interface.strip().startswith("veth"):
            for direction, count in {"received": received, "sent": sent}.items():
                labels = {"interface": interface.strip(), "direction": direction}
                yield Counter("network_mib_per_s", "MiB/s", labels, count / (1 << 20))
