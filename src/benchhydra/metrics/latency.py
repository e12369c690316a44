"""Statistics of the requests' TTFT, TPOT, ITL and E2E latency. The names are those of nm-vllm and vLLM."""

from __future__ import annotations

import math

import numpy as np

from benchhydra.metrics import Compute, Percentile, metric, percentile_family
from benchhydra.records import Float64
from benchhydra.result import Better
from benchhydra.window import Window

#: Statistic -> its name in docs, its direction. Percentiles have one, unlike in nm-vllm, because users gate on tails.
STATISTICS = {
    "mean": ("mean", Better.SMALLER),
    "median": ("median", Better.SMALLER),
    "std": ("standard deviation", Better.OBSERVATION),
    "p90": ("90th percentile", Better.SMALLER),
    "p95": ("95th percentile", Better.SMALLER),
    "p99": ("99th percentile", Better.SMALLER),
    "max": ("maximum", Better.OBSERVATION),
}
#: Column of the window -> its definition, its needs.
LATENCIES = {
    "ttft": ("time to first token: first chunk with text - sent", ("latency", "stream")),
    "ttfat": (
        "time to first answer token: first chunk with text that is no reasoning - sent",
        ("latency", "stream", "reasoning"),
    ),
    "tpot": (
        "time per output token: (last chunk or finish reason - first chunk) / (output tokens - 1), "
        "of answers of two chunks or more",
        ("latency", "stream", "tokens"),
    ),
    "itl": (
        "inter-token latency: gaps between successive chunks with text, pooled over requests",
        ("latency", "stream"),
    ),
    "e2el": ("request latency: last chunk with text or finish reason - sent", ("latency",)),
}
SCHEDULED = {
    "ttft": (
        "time to first token from the scheduled time: first chunk with text - scheduled (no coordinated omission)",
        ("latency", "schedule", "stream"),
    ),
    "e2el": (
        "request latency from the scheduled time: last chunk with text or finish reason - scheduled "
        "(no coordinated omission)",
        ("latency", "schedule"),
    ),
}
#: Statistics that also exist with failures counted -> the fraction of requests below each.
WITH_FAILURES = {"median": 0.5, "p90": 0.9, "p99": 0.99}


def percentile_with_failures(values: Float64, failed: int, fraction: float) -> float | None:
    """Return a percentile with failures counted as infinitely slow; None if it is infinite. values: shape (n,)."""
    finite = np.sort(values[~np.isnan(values)])
    position = fraction * (len(finite) + failed - 1)
    below, above = math.floor(position), math.ceil(position)
    if position < 0 or above >= len(finite):
        return None
    return float(finite[below] + (finite[above] - finite[below]) * (position - below))


def _statistic(column: str, statistic: str) -> Compute:
    def compute(window: Window) -> float | None:
        statistics = window.statistics(column)
        return None if statistics is None else statistics[statistic]

    return compute


def _scheduled_statistic(column: str, statistic: str) -> Compute:
    def compute(window: Window) -> float | None:
        statistics = window.statistics(column) if window.scheduled else None
        return None if statistics is None else statistics[statistic]

    return compute


def _statistic_with_failures(column: str, fraction: float) -> Compute:
    def compute(window: Window) -> float | None:
        return percentile_with_failures(getattr(window, column), int(window.failed.sum()), fraction)

    return compute


def _percentile(column: str) -> Percentile:
    return lambda window, percent: window.percentile(column, percent)


def _scheduled_percentile(column: str) -> Percentile:
    return lambda window, percent: window.percentile(column, percent) if window.scheduled else None


def _percentile_with_failures(column: str) -> Percentile:
    return lambda window, percent: _statistic_with_failures(column, percent / 100)(window)


def _declare_latencies() -> None:
    for name, (doc, needs) in LATENCIES.items():
        for statistic, (label, better) in STATISTICS.items():
            metric(f"{statistic}_{name}_ms", unit="ms", better=better, doc=f"{label} of the {doc}", needs=needs)(
                _statistic(f"{name}_ms", statistic)
            )
        percentile_family(f"{name}_ms", doc=doc, needs=needs)(_percentile(f"{name}_ms"))


def _declare_scheduled_latencies() -> None:
    for name, (doc, needs) in SCHEDULED.items():
        for statistic in ("mean", "median", "p99"):
            label, better = STATISTICS[statistic]
            declare = metric(
                f"{statistic}_scheduled_{name}_ms", unit="ms", better=better, doc=f"{label} of the {doc}", needs=needs
            )
            declare(_scheduled_statistic(f"scheduled_{name}_ms", statistic))
        column = f"scheduled_{name}_ms"
        percentile_family(column, doc=doc, needs=needs)(_scheduled_percentile(column))


def _declare_latencies_with_failures() -> None:
    for name in ("ttft", "e2el"):
        doc, needs = f"{name}_ms, failures counted as infinitely slow; absent if infinite", LATENCIES[name][1]
        for statistic, fraction in WITH_FAILURES.items():
            declare = metric(
                f"{statistic}_{name}_with_failures_ms",
                unit="ms",
                better=Better.SMALLER,
                doc=f"{STATISTICS[statistic][0]} of {doc}",
                needs=needs,
            )
            declare(_statistic_with_failures(f"{name}_ms", fraction))
        family = percentile_family(f"{name}_with_failures_ms", doc=doc, needs=needs)
        family(_percentile_with_failures(f"{name}_ms"))


_declare_latencies()
_declare_scheduled_latencies()
_declare_latencies_with_failures()
