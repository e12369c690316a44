"""Throughput: requests and tokens completed inside the window / length of the window."""

from __future__ import annotations

import numpy as np

from benchhydra.metrics import metric
from benchhydra.records import Float64, Records
from benchhydra.result import Better
from benchhydra.window import Window


@metric(
    "request_throughput",
    unit="requests/s",
    better=Better.BIGGER,
    doc="answers completed inside the window / duration_s",
)
def request_throughput(window: Window) -> float | None:
    return per_second(window, len(window.ended))


@metric(
    "input_throughput",
    unit="tokens/s",
    better=Better.BIGGER,
    doc="prompt tokens (the server's usage) of answers completed inside the window / duration_s",
    needs=("requests", "tokens"),
)
def input_throughput(window: Window) -> float | None:
    return per_second(window, _tokens(window.ended, "prompt_tokens"))


@metric(
    "output_throughput",
    unit="tokens/s",
    better=Better.BIGGER,
    doc="generated tokens (the server's usage) of answers completed inside the window / duration_s",
    needs=("requests", "tokens", "generated"),
)
def output_throughput(window: Window) -> float | None:
    return per_second(window, _tokens(window.ended, "output_tokens"))


@metric(
    "total_token_throughput",
    unit="tokens/s",
    better=Better.BIGGER,
    doc="prompt and generated tokens of answers completed inside the window / duration_s",
    needs=("requests", "tokens", "generated"),
)
def total_token_throughput(window: Window) -> float | None:
    prompt, output = (_tokens(window.ended, name) for name in ("prompt_tokens", "output_tokens"))
    return None if prompt is None or output is None else per_second(window, prompt + output)


@metric(
    "output_throughput_per_user",
    unit="tokens/s",
    better=Better.BIGGER,
    doc="generated tokens of completed requests / sum of their E2E latencies: output_throughput / mean_concurrency in "
    "a steady state, as in the Pareto chart of vLLM's benchmark; TTFT included",
    needs=("latency", "tokens", "generated"),
)
def output_throughput_per_user(window: Window) -> float | None:
    total_s = float(np.nansum(window.e2el_ms)) / 1e3
    tokens = _tokens(window.where(window.completed), "output_tokens")
    return tokens / total_s if tokens is not None and total_s > 0 else None


@metric(
    "mean_decode_throughput_per_user",
    unit="tokens/s",
    better=Better.BIGGER,
    doc="mean over requests of 1000 / tpot_ms: the tokens/s per user of aiperf, TTFT not included",
    needs=("latency", "stream", "tokens"),
)
def mean_decode_throughput_per_user(window: Window) -> float | None:
    rates = _decode_rates(window)
    return float(rates.mean()) if len(rates) else None


@metric(
    "median_decode_throughput_per_user",
    unit="tokens/s",
    better=Better.BIGGER,
    doc="median over requests of 1000 / tpot_ms: the interactivity of InferenceX",
    needs=("latency", "stream", "tokens"),
)
def median_decode_throughput_per_user(window: Window) -> float | None:
    rates = _decode_rates(window)
    return float(np.median(rates)) if len(rates) else None


@metric(
    "output_throughput_per_gpu",
    unit="tokens/s",
    better=Better.BIGGER,
    doc="output_throughput / GPUs of the engine; absent without GPUs or if their number is unknown",
    needs=("requests", "tokens", "generated"),
)
def output_throughput_per_gpu(window: Window) -> float | None:
    return _per_gpu(window, output_throughput(window))


@metric(
    "total_token_throughput_per_gpu",
    unit="tokens/s",
    better=Better.BIGGER,
    doc="total_token_throughput / GPUs of the engine; absent without GPUs or if their number is unknown",
    needs=("requests", "tokens", "generated"),
)
def total_token_throughput_per_gpu(window: Window) -> float | None:
    return _per_gpu(window, total_token_throughput(window))


def per_second(window: Window, amount: int | None) -> float | None:
    """Return amount / window length in s; None if the amount is None or no answer ended inside the window."""
    return None if amount is None or window.duration_s is None or not len(window.ended) else amount / window.duration_s


def ended_tokens(window: Window, *columns: str) -> int | None:
    """Return the tokens of answers completed inside the window, over columns; None if the server left one out."""
    counts = [_tokens(window.ended, column) for column in columns]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _tokens(records: Records, column: str) -> int | None:
    """Return the sum of a token count over rows; None if the server did not report one of them."""
    tokens = getattr(records, column)
    return int(tokens.sum(dtype=np.int64)) if (tokens >= 0).all() else None


def _decode_rates(window: Window) -> Float64:
    """Return the tokens/s of each request after its first token; shape (requests with a TPOT,)."""
    tpot_ms = window.tpot_ms[window.tpot_ms > 0]
    return np.asarray(1e3 / tpot_ms)


def _per_gpu(window: Window, throughput: float | None) -> float | None:
    gpus: int | None = window.facts["engine_gpus"]
    return throughput / gpus if gpus and throughput is not None else None
