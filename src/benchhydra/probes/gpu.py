"""The probe ``gpu``: power, energy, use, clocks and heat of the server's GPUs, and who else uses them, by NVML."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from benchhydra.facts import fact
from benchhydra.gpu_throttling import POWER_CAP, is_throttled
from benchhydra.probes import Probe, ProbeTarget, Sample
from benchhydra.probes._nvml import NvmlGpu, load_nvml
from benchhydra.probes._processes import process_tree
from benchhydra.probes._slow_reading import SlowReading

OTHER_GPU_PIDS = fact(
    "other_gpu_pids", unit="processes", doc="processes on the GPUs of this run that are neither ours nor the server's"
)
OTHER_GPU_MEMORY_MIB = fact(
    "other_gpu_memory_mib",
    unit="MiB",
    doc="largest memory on one GPU of this run, at any time, that belonged to none of our processes",
    in_metadata=True,
)
ENERGY_SOURCE = fact(
    "gpu_energy_source",
    unit="text",
    doc="where the GPUs' energy is from: counter (the card's own), integral of power (of samples), or both",
    in_metadata=True,
)
POWER_LIMITS_W = fact(
    "gpu_power_limits_w",
    unit="W",
    doc="power limit of each GPU of this run, in the order of indices",
    in_metadata=True,
)
POWERS_W = fact(
    "gpu_powers_w",
    unit="W",
    doc="mean power of each GPU of this run while the load ran, in the order of indices",
    in_metadata=True,
)
COUNTER, INTEGRAL = "counter", "integral of power"
#: Listing the processes of a GPU takes up to some ms.
LISTING_INTERVAL_S = 2.0


class GpuProbe(Probe):
    """Reads every GPU of the server at each sample. What a card does not have is missing."""

    name: ClassVar[str] = "gpu"

    def applies(self, target: ProbeTarget) -> bool:
        return bool(target.gpus)

    def start(self, target: ProbeTarget) -> None:
        nvml = load_nvml()
        count = nvml.nvmlDeviceGetCount()
        if max(target.gpus) >= count:
            raise IndexError(f"there is no GPU {max(target.gpus)}: this machine has {count}")
        self._gpus = {str(index): NvmlGpu(nvml, index) for index in target.gpus}
        self._energy = {label: EnergyMeter(gpu) for label, gpu in self._gpus.items()}
        self._neighbours = Neighbours(target, self._gpus)

    def sample(self) -> Iterator[Sample]:
        for label, gpu in self._gpus.items():
            for name, unit, value in (*self._energy[label].read(), *_readings(gpu)):
                if value is not None:
                    yield Sample(name, unit, value, {"gpu": label})
        self._neighbours.look()

    def stop(self) -> Mapping[str, Any]:
        self._neighbours.look(now=True)
        sources = {meter.source for meter in self._energy.values() if meter.source}
        powers_w = [meter.mean_power_w() for meter in self._energy.values()]
        limits_w = [gpu.power_limit_w() for gpu in self._gpus.values()]
        facts = self._neighbours.facts()
        facts |= {ENERGY_SOURCE: ", ".join(sorted(sources))} if sources else {}
        facts |= {POWERS_W: tuple(powers_w)} if None not in powers_w else {}
        return facts | ({POWER_LIMITS_W: tuple(limits_w)} if None not in limits_w else {})


class EnergyMeter:
    """Power of one GPU, and its energy since the first reading: of its counter, or else the integral of its power.

    The integral is that of straight lines between the samples.
    """

    def __init__(self, gpu: NvmlGpu) -> None:
        self.source = ""
        self._gpu = gpu
        self._counted_before_j: float | None = None
        self._first_ns = self._last_ns = 0
        self._energy_j = 0.0
        self._previous_w: float | None = None

    def read(self) -> Iterator[tuple[str, str, float | None]]:
        """Yield the power and the energy as (name, unit, value)."""
        now_ns, counted_j, power_w = time.monotonic_ns(), self._gpu.counted_energy_j(), self._gpu.power_w()
        yield "power_w", "W", power_w
        if counted_j is not None:
            self.source = COUNTER
            if self._counted_before_j is None:
                self._counted_before_j = counted_j
            self._energy_j = counted_j - self._counted_before_j
        elif power_w is not None and self.source != COUNTER:
            self.source = INTEGRAL
            if self._previous_w is not None:
                self._energy_j += (self._previous_w + power_w) / 2 * (now_ns - self._last_ns) / 1e9
            self._previous_w = power_w
        else:
            return
        self._first_ns, self._last_ns = self._first_ns or now_ns, now_ns
        yield "energy_j", "J", self._energy_j

    def mean_power_w(self) -> float | None:
        """Return the mean power from the first to the last reading; None without two of them."""
        elapsed_s = (self._last_ns - self._first_ns) / 1e9
        return self._energy_j / elapsed_s if elapsed_s > 0 else None


class Neighbours:
    """The processes on the GPUs that belong neither to the client nor to the server, and their memory.

    In a container NVML may list no process, or pids of another namespace: if none of ours is listed, nothing is known.
    So it is for a server that benchhydra did not start.
    """

    def __init__(self, target: ProbeTarget, gpus: Mapping[str, NvmlGpu]) -> None:
        self._roots = [] if target.server_pid is None else [target.client_pid, target.server_pid, *target.server_pids]
        self._gpus = gpus
        self._ours: set[int] = set()
        self._listing = SlowReading(LISTING_INTERVAL_S)
        self._pids: set[int] = set()
        self._memory_mib = 0.0
        self._saw_ours = self._saw_memory = False

    def look(self, *, now: bool = False) -> None:
        """List the processes, if the last listing was long enough ago or ``now``."""
        if now or self._listing.due():
            self._listing.run(self._list_processes)

    def facts(self) -> dict[str, Any]:
        """Return what was seen in all listings."""
        if not self._saw_ours:
            return {}
        return {OTHER_GPU_PIDS: tuple(sorted(self._pids))} | (
            {OTHER_GPU_MEMORY_MIB: self._memory_mib} if self._saw_memory else {}
        )

    def _list_processes(self) -> None:
        for gpu in self._gpus.values():
            self._look_at(gpu)

    def _look_at(self, gpu: NvmlGpu) -> None:
        processes = gpu.processes() or ()
        pids = {process.pid for process in processes}
        if not pids <= self._ours:
            self._ours = process_tree(self._roots)
        self._saw_ours |= bool(pids & self._ours)
        self._pids |= pids - self._ours
        used_mib = gpu.memory_used_mib()
        ours_mib = [process.memory_mib for process in processes if process.pid in self._ours]
        if used_mib is not None and ours_mib and None not in ours_mib:
            self._saw_memory = True
            self._memory_mib = max(self._memory_mib, used_mib - sum(size or 0.0 for size in ours_mib))


def _readings(gpu: NvmlGpu) -> Iterator[tuple[str, str, float | None]]:
    """Yield everything but the energy as (name, unit, value)."""
    busy, memory_busy = gpu.utilization() or (None, None)
    yield "utilization_fraction", "fraction", busy
    yield "memory_busy_fraction", "fraction", memory_busy
    yield "memory_used_mib", "MiB", gpu.memory_used_mib()
    yield "sm_clock_mhz", "MHz", gpu.sm_clock_mhz()
    yield "memory_clock_mhz", "MHz", gpu.memory_clock_mhz()
    yield "temperature_c", "C", gpu.temperature_c()
    reasons = gpu.throttle_reasons()
    if reasons is not None:
        yield "throttle_reasons", "bits", float(reasons)
        yield "throttled", "fraction", float(is_throttled(reasons))
        yield "power_capped", "fraction", float(bool(reasons & POWER_CAP))
