"""Metrics of batches of requests that are sent at once. The rows of one batch have the same scheduled time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchhydra.metrics import Compute, Percentile, metric, percentile_family
from benchhydra.records import Float64
from benchhydra.result import Better
from benchhydra.window import Window


def _percentile(percent: float) -> Callable[[Float64], float]:
    """Return a function for a percentile by numpy's default: linear interpolation between order statistics."""
    return lambda values: float(np.percentile(values, percent))


#: Statistic -> its name in docs, its direction, its function.
STATISTICS: dict[str, tuple[str, Better, Callable[[Float64], float]]] = {
    "mean": ("mean", Better.SMALLER, np.mean),
    "median": ("median", Better.SMALLER, np.median),
    "std": ("standard deviation", Better.OBSERVATION, np.std),
    "p10": ("10th percentile", Better.SMALLER, _percentile(10)),
    "p25": ("25th percentile", Better.SMALLER, _percentile(25)),
    "p75": ("75th percentile", Better.SMALLER, _percentile(75)),
    "p90": ("90th percentile", Better.SMALLER, _percentile(90)),
    "p99": ("99th percentile", Better.SMALLER, _percentile(99)),
}
#: Time -> its definition, its statistics.
TIMES = {
    "batch_latency": ("latency of a batch: last end of an answer - scheduled", tuple(STATISTICS)),
    "batch_prefill": ("prefill of a batch: last first token - scheduled", ("mean", "median", "p99")),
    "batch_decode": ("decode of a batch: its latency - its prefill", ("mean", "median", "p99")),
}


def batch_times_ms(window: Window) -> dict[str, Float64]:
    """Return the ``TIMES`` in ms, shape (batches,), in order of time; NaN if a request of the batch lacks that time."""
    latency_ms = _latest_by_batch(window, window.scheduled_e2el_ms)
    prefill_ms = _latest_by_batch(window, window.scheduled_ttft_ms)
    return {"batch_latency": latency_ms, "batch_prefill": prefill_ms, "batch_decode": latency_ms - prefill_ms}


@metric("batches", unit="batches", better=Better.OBSERVATION, doc="measured batches", needs=("batches",))
def batches(window: Window) -> float:
    return float(len(np.unique(window.scheduled_ns)))


@metric(
    "batch_prefill_throughput",
    unit="tokens/s",
    better=Better.BIGGER,
    doc="prompt tokens / time of prefill, over all batches whose first tokens are known",
    needs=("batches", "tokens"),
)
def batch_prefill_throughput(window: Window) -> float | None:
    return _tokens_per_second(window, "batch_prefill", window.prompt_tokens)


@metric(
    "batch_decode_throughput",
    unit="tokens/s",
    better=Better.BIGGER,
    doc="generated tokens after each first one / time of decode, over all batches whose first tokens are known",
    needs=("batches", "tokens", "generated"),
)
def batch_decode_throughput(window: Window) -> float | None:
    return _tokens_per_second(window, "batch_decode", window.output_tokens - 1)


def _latest_by_batch(window: Window, values_ms: Float64) -> Float64:
    """Return the largest value of each batch, NaN if one of them is NaN; shape (requests,) -> (batches,)."""
    times, batch = np.unique(window.scheduled_ns, return_inverse=True)
    latest_ms = np.full(len(times), -np.inf)
    with np.errstate(invalid="ignore"):  # NaN in a batch makes its maximum NaN, as intended
        np.maximum.at(latest_ms, batch, values_ms)
    return latest_ms


def _tokens_per_second(window: Window, time: str, tokens: npt.NDArray[np.integer[Any]]) -> float | None:
    """Return tokens / total time in seconds, over the batches that have that time; None if there are none."""
    times_ms = batch_times_ms(window)[time]
    complete = ~np.isnan(times_ms)
    _, batch = np.unique(window.scheduled_ns, return_inverse=True)
    counted = tokens[complete[batch]]
    total_ms = times_ms[complete].sum()
    return float(counted.sum() / total_ms * 1e3) if len(counted) and (counted >= 0).all() and total_ms > 0 else None


def _statistic(time: str, compute: Callable[[Float64], float]) -> Compute:
    def value(window: Window) -> float | None:
        times_ms = batch_times_ms(window)[time]
        valid_ms = times_ms[~np.isnan(times_ms)]
        return float(compute(valid_ms)) if len(valid_ms) else None

    return value


def _any_percentile(time: str) -> Percentile:
    return lambda window, percent: _statistic(time, _percentile(percent))(window)


def _declare() -> None:
    for time, (doc, statistics) in TIMES.items():
        percentile_family(f"{time}_ms", doc=doc, needs=("batches",))(_any_percentile(time))
        for statistic in statistics:
            label, better, compute = STATISTICS[statistic]
            declare = metric(
                f"{statistic}_{time}_ms", unit="ms", better=better, doc=f"{label} of the {doc}", needs=("batches",)
            )
            declare(_statistic(time, compute))


_declare()
