"""What the server's GPUs did inside the window: use, memory, clocks, temperature, throttling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchhydra.metrics import Compute, metric
from benchhydra.result import Better
from benchhydra.series import Series
from benchhydra.window import Window
from benchhydra.window_series import Span, highest, mean, named

Summary = Callable[[Sequence[Series], Span | None], float | None]
#: Metric -> the series, its unit, the summary, and its meaning.
SUMMARIES: dict[str, tuple[str, str, Summary, str]] = {
    "mean_gpu_utilization_fraction": (
        "gpu.utilization_fraction",
        "fraction",
        mean,
        "part of the time in which a kernel ran, by NVML: 1 says little about how busy the GPU's cores were",
    ),
    "mean_gpu_memory_busy_fraction": (
        "gpu.memory_busy_fraction",
        "fraction",
        mean,
        "part of the time in which the GPU's memory was read or written, by NVML",
    ),
    "max_gpu_memory_used_mib": ("gpu.memory_used_mib", "MiB", highest, "most memory in use on one GPU"),
    "mean_gpu_sm_clock_mhz": ("gpu.sm_clock_mhz", "MHz", mean, "clock of the GPUs' multiprocessors"),
    "max_gpu_temperature_c": ("gpu.temperature_c", "C", highest, "highest temperature of one GPU"),
    "gpu_throttled_fraction": (
        "gpu.throttled",
        "fraction",
        mean,
        "part of the samples in which temperature, a hardware slowdown or the power brake lowered a GPU's clocks",
    ),
    "gpu_power_capped_fraction": (
        "gpu.power_capped",
        "fraction",
        mean,
        "part of the samples in which the power limit lowered a GPU's clocks: usual on many cards",
    ),
}


def _summary(name: str, summary: Summary) -> Compute:
    def value(window: Window) -> float | None:
        return summary(named(window.series, name), window.span_ns)

    return value


def _declare() -> None:
    for name, (series, unit, summary, doc) in SUMMARIES.items():
        declare = metric(name, unit=unit, better=Better.OBSERVATION, doc=doc, needs=("requests", series))
        declare(_summary(series, summary))


_declare()
