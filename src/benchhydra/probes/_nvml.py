"""Readings of one NVIDIA GPU by NVML. What a card or its driver does not have is None and is not asked for again.

A reading takes 1 to 500 us, the list of processes up to some ms. ``pynvml`` (10 ms to import) is loaded only if the run
has GPUs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

MIB = 1 << 20


class GpuProcess(NamedTuple):
    """A process on a GPU. ``memory_mib``: None if the driver does not say."""

    pid: int
    memory_mib: float | None


class NvmlGpu:
    """One GPU, by NVML's index. Errors other than "not supported" raise ``pynvml.NVMLError``: the GPU was lost."""

    def __init__(self, nvml: Any, index: int) -> None:
        self._nvml = nvml
        self._handle = nvml.nvmlDeviceGetHandleByIndex(index)
        self._unsupported: set[tuple[Any, ...]] = set()  # calls: the function's name and its arguments
        self._unsupported_codes = {
            nvml.NVML_ERROR_NOT_SUPPORTED,
            nvml.NVML_ERROR_NO_PERMISSION,
            nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            nvml.NVML_ERROR_INVALID_ARGUMENT,  # an old driver about a field that it does not know
        }

    def power_w(self) -> float | None:
        """Power of the card at this moment; where the driver has no such reading, its mean over up to 1 s."""
        call = "nvmlDeviceGetFieldValues", (self._nvml.NVML_FI_DEV_POWER_INSTANT,)
        fields = self._ask(*call)
        if fields is not None and fields[0].nvmlReturn == self._nvml.NVML_SUCCESS:
            return float(fields[0].value.uiVal) / 1e3
        self._unsupported.add(call)
        milliwatts = self._ask("nvmlDeviceGetPowerUsage")
        return None if milliwatts is None else milliwatts / 1e3

    def counted_energy_j(self) -> float | None:
        """Energy since the driver was loaded, by the card's own counter (Volta and newer)."""
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if millijoules is None else millijoules / 1e3

    def utilization(self) -> tuple[float, float] | None:
        """Part of the last 1/6 to 1 s in which a kernel ran, and in which the memory was read or written."""
        rates = self._ask("nvmlDeviceGetUtilizationRates")
        return None if rates is None else (rates.gpu / 100, rates.memory / 100)

    def memory_used_mib(self) -> float | None:
        """Memory in use, without what the driver reserves for itself if it tells them apart."""
        memory = self._ask("nvmlDeviceGetMemoryInfo", self._nvml.nvmlMemory_v2)
        if memory is None:
            memory = self._ask("nvmlDeviceGetMemoryInfo")
        return None if memory is None else memory.used / MIB

    def sm_clock_mhz(self) -> float | None:
        """Clock of the multiprocessors."""
        return self._ask_number("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_SM)

    def memory_clock_mhz(self) -> float | None:
        """Clock of the memory."""
        return self._ask_number("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_MEM)

    def temperature_c(self) -> float | None:
        """Temperature of the chip."""
        return self._ask_number("nvmlDeviceGetTemperature", self._nvml.NVML_TEMPERATURE_GPU)

    def throttle_reasons(self) -> int | None:
        """Why the clocks are lower than the highest, as NVML's bit mask."""
        reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return None if reasons is None else int(reasons)

    def power_limit_w(self) -> float | None:
        """The power above which the driver lowers the clocks."""
        milliwatts = self._ask("nvmlDeviceGetEnforcedPowerLimit")
        return None if milliwatts is None else milliwatts / 1e3

    def processes(self) -> tuple[GpuProcess, ...] | None:
        """The processes that compute on this GPU; empty in a container that does not see the others."""
        processes = self._ask("nvmlDeviceGetComputeRunningProcesses")
        if processes is None:
            return None
        sizes = [(process.pid, process.usedGpuMemory) for process in processes]
        return tuple(GpuProcess(pid, None if size is None else size / MIB) for pid, size in sizes)

    def _ask_number(self, function: str, argument: int) -> float | None:
        value = self._ask(function, argument)
        return None if value is None else float(value)

    def _ask(self, function: str, *arguments: Any) -> Any:
        """Call a function of pynvml on this GPU; None if it is not supported."""
        call = (function, *arguments)
        if call in self._unsupported:
            return None
        try:
            return getattr(self._nvml, function)(self._handle, *arguments)
        except self._nvml.NVMLError as error:
            if error.value not in self._unsupported_codes:
                raise
            self._unsupported.add(call)
            return None


def load_nvml() -> Any:
    """Load and initialise NVML, and return pynvml. Raises ``pynvml.NVMLError``."""
    import pynvml  # start-up time: 10 ms, only with GPUs

    pynvml.nvmlInit()
    return pynvml
