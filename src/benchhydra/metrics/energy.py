"""Power and energy of the server's GPUs and of the CPUs over the window, and energy per token and per request.

The energy is that of the cards' counters, or the integral of their power (the fact ``gpu_energy_source`` says which),
interpolated at both ends of the window. It covers everything that the GPUs did meanwhile, idle power too.
"""

from __future__ import annotations

from benchhydra.metrics import metric
from benchhydra.metrics.throughput import ended_tokens
from benchhydra.result import Better
from benchhydra.series import Series
from benchhydra.window import Window
from benchhydra.window_series import growth, named

GPU_ENERGY = "gpu.energy_j"
CPU_ENERGY = "host.energy_j"


@metric(
    "gpu_energy_j",
    unit="J",
    better=Better.OBSERVATION,
    doc="energy of the server's GPUs inside the window",
    needs=("requests", GPU_ENERGY),
)
def gpu_energy_j(window: Window) -> float | None:
    return growth(named(window.series, GPU_ENERGY), window.span_ns)


@metric(
    "mean_gpu_power_w",
    unit="W",
    better=Better.OBSERVATION,
    doc="gpu_energy_j / duration_s: all GPUs of the server together",
    needs=("requests", GPU_ENERGY),
)
def mean_gpu_power_w(window: Window) -> float | None:
    return _divided(gpu_energy_j(window), window.duration_s)


@metric(
    "gpu_j_per_output_token",
    unit="J/token",
    better=Better.SMALLER,
    doc="gpu_energy_j / generated tokens of answers completed inside the window",
    needs=("requests", "tokens", "generated", GPU_ENERGY),
)
def gpu_j_per_output_token(window: Window) -> float | None:
    return _divided(gpu_energy_j(window), ended_tokens(window, "output_tokens"))


@metric(
    "gpu_j_per_total_token",
    unit="J/token",
    better=Better.SMALLER,
    doc="gpu_energy_j / prompt and generated tokens of answers completed inside the window",
    needs=("requests", "tokens", "generated", GPU_ENERGY),
)
def gpu_j_per_total_token(window: Window) -> float | None:
    return _divided(gpu_energy_j(window), ended_tokens(window, "prompt_tokens", "output_tokens"))


@metric(
    "gpu_j_per_request",
    unit="J/request",
    better=Better.SMALLER,
    doc="gpu_energy_j / answers completed inside the window",
    needs=("requests", GPU_ENERGY),
)
def gpu_j_per_request(window: Window) -> float | None:
    return _divided(gpu_energy_j(window), len(window.ended))


@metric(
    "output_tokens_per_s_per_w",
    unit="tokens/s/W",
    better=Better.BIGGER,
    doc="output_throughput / mean_gpu_power_w",
    needs=("requests", "tokens", "generated", GPU_ENERGY),
)
def output_tokens_per_s_per_w(window: Window) -> float | None:
    tokens = ended_tokens(window, "output_tokens")
    return None if not tokens else _divided(tokens, gpu_energy_j(window))


@metric(
    "mean_cpu_power_w",
    unit="W",
    better=Better.OBSERVATION,
    doc="power of all CPU packages of this machine inside the window, by RAPL, whoever used them",
    needs=("requests", CPU_ENERGY),
)
def mean_cpu_power_w(window: Window) -> float | None:
    return _divided(growth(_packages(window), window.span_ns), window.duration_s)


@metric(
    "cpu_j_per_output_token",
    unit="J/token",
    better=Better.SMALLER,
    doc="energy of all CPU packages of this machine inside the window, by RAPL / generated tokens of answers completed "
    "inside the window",
    needs=("requests", "tokens", "generated", CPU_ENERGY),
)
def cpu_j_per_output_token(window: Window) -> float | None:
    return _divided(growth(_packages(window), window.span_ns), ended_tokens(window, "output_tokens"))


def _packages(window: Window) -> list[Series]:
    """Return the series of whole CPU packages, without those of their parts (``package-0/dram``)."""
    domains = [(series, series.labels["domain"]) for series in named(window.series, CPU_ENERGY)]
    return [series for series, domain in domains if domain.startswith("package-") and "/" not in domain]


def _divided(amount: float | None, by: float | None) -> float | None:
    """Return amount / by; None if one is unknown, or if ``by`` is 0."""
    return None if amount is None or not by else amount / by
