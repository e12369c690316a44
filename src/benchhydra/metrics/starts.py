"""Starts of an engine: time to ready, time to the first token, and the phases in the engine's log."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchhydra.metrics import Compute, metric
from benchhydra.records import Float64
from benchhydra.result import Better
from benchhydra.window import Window

CACHES = {"cold": "with empty caches", "warm": "with the caches that an earlier start has filled"}
STATISTICS: dict[str, Callable[[Float64], float]] = {"median": np.median, "mean": np.mean, "max": np.max}
#: Time, in s -> its definition.
TIMES = {
    "ready": "from the start of the process until it is ready",
    "first_token": "from the start of the process until it is ready, plus TTFT of the first request",
}
#: Phase, in s, of the slowest worker -> its definition. Only medians, which suffice to find the longest phase.
PHASES = {
    "imports": "from the start of the process to its first log line, to 1 s",
    "setup": "from the start of the process until it begins to load the model, to 1 s: imports, config, workers",
    "model_load": "building the model and loading its weights",
    "weights": "reading the weights, part of loading the model",
    "engine_init": "profiling, KV cache, compilation, graph capture and warm-up",
    "compilation": "compilation, part of the engine's initialisation",
    "graph_capture": "capture of CUDA graphs, part of the engine's initialisation",
}
#: Size at readiness -> its unit, its direction, its definition.
SIZES = {
    "model_memory_gib": ("GiB", Better.SMALLER, "memory of the model on each worker"),
    "kv_cache_memory_gib": ("GiB", Better.BIGGER, "memory of the KV cache on each worker"),
    "graph_memory_gib": ("GiB", Better.SMALLER, "memory of CUDA graphs on each worker"),
    "kv_cache_tokens": ("tokens", Better.BIGGER, "tokens that the KV cache holds"),
}


@metric("starts", unit="starts", better=Better.OBSERVATION, doc="measured starts", needs=("starts",))
def starts(window: Window) -> float:
    return float(len(window))


def _declare_seconds(statistic: str, sample: str, doc: str) -> None:
    declare = metric(
        f"{statistic}_{sample}", unit="s", better=Better.SMALLER, doc=f"{statistic} of the {doc}", needs=(sample,)
    )
    declare(_statistic(sample, STATISTICS[statistic]))


def _statistic(sample: str, compute: Callable[[Float64], float]) -> Compute:
    return lambda window: float(compute(window.samples[sample]))


def _declare() -> None:
    for cache, condition in CACHES.items():
        for time, doc in TIMES.items():
            for statistic in STATISTICS:
                _declare_seconds(statistic, f"{cache}_{time}_s", f"time {doc}; starts {condition}")
        for phase, doc in PHASES.items():
            _declare_seconds("median", f"{cache}_{phase}_s", f"phase of a start: {doc}; starts {condition}")
    for sample, (unit, better, doc) in SIZES.items():
        declare = metric(sample, unit=unit, better=better, doc=f"{doc}; median of the starts", needs=(sample,))
        declare(_statistic(sample, np.median))


_declare()
