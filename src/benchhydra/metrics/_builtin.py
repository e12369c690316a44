"""The built-in metrics. Names and units are the seed's and upstream's; ``doc`` is what docs/metrics.md says."""

from __future__ import annotations

import numpy as np

from benchhydra.metrics import Compute, failed_rows, metric, percentile_with_failures
from benchhydra.records import Records
from benchhydra.result import Better
from benchhydra.window import Window

SERVING = ("serving",)
BOTH = ("serving", "throughput")
#: statistic -> its words and its direction. Users gate on tails, so percentiles have one, unlike in nm-vllm.
STATISTICS = {
    "mean": ("mean", Better.SMALLER),
    "median": ("median", Better.SMALLER),
    "std": ("standard deviation", Better.OBSERVATION),
    "p90": ("90th percentile", Better.SMALLER),
    "p95": ("95th percentile", Better.SMALLER),
    "p99": ("99th percentile", Better.SMALLER),
    "max": ("maximum", Better.OBSERVATION),
}
LATENCIES = {
    "ttft": "time to first token: first chunk with text - sent",
    "tpot": "time per output token: (last chunk - first chunk) / (output tokens - 1), of answers of two chunks or more",
    "itl": "inter-token latency: gaps between successive chunks with text, pooled over requests",
    "e2el": "request latency: last chunk with text - sent",
}
SCHEDULED = {
    "ttft": "time to first token from the scheduled time: first chunk with text - scheduled (no coordinated omission)",
    "e2el": "request latency from the scheduled time: last chunk with text - scheduled (no coordinated omission)",
}


def _statistic(column: str, statistic: str) -> Compute:
    def compute(window: Window) -> float | None:
        found = window.statistics(column)
        return None if found is None else found[statistic]

    return compute


def _scheduled(column: str, statistic: str) -> Compute:
    def compute(window: Window) -> float | None:
        found = window.statistics(column) if window.scheduled else None
        return None if found is None else found[statistic]

    return compute


def _with_failures(column: str, share: float) -> Compute:
    def compute(window: Window) -> float | None:
        return percentile_with_failures(getattr(window, column), int(failed_rows(window).sum()), share)

    return compute


def _declare_latencies() -> None:
    for name, doc in LATENCIES.items():
        for statistic, (words, better) in STATISTICS.items():
            text = f"{words} of the {doc}"
            metric(f"{statistic}_{name}_ms", unit="ms", better=better, doc=text, scripts=SERVING)(
                _statistic(f"{name}_ms", statistic)
            )
    for name, doc in SCHEDULED.items():
        for statistic in ("mean", "median", "p99"):
            words, better = STATISTICS[statistic]
            metric(
                f"{statistic}_scheduled_{name}_ms",
                unit="ms",
                better=better,
                doc=f"{words} of the {doc}",
                scripts=SERVING,
            )(_scheduled(f"scheduled_{name}_ms", statistic))
    for name in ("ttft", "e2el"):
        for percent in (50, 90, 99):
            text = f"{percent}th percentile of {name}_ms, failures counted as infinitely slow; absent where infinite"
            metric(f"p{percent}_{name}_with_failures_ms", unit="ms", better=Better.SMALLER, doc=text, scripts=SERVING)(
                _with_failures(f"{name}_ms", percent / 100)
            )


_declare_latencies()


@metric(
    "request_throughput",
    unit="prompts/s",
    better=Better.BIGGER,
    doc="answers completed inside the window / duration_s",
    scripts=BOTH,
)
def request_throughput(window: Window) -> float | None:
    return _rate(window, len(window.ended))


@metric(
    "input_throughput",
    unit="tokens/s",
    better=Better.BIGGER,
    doc="prompt tokens (the server's usage) of answers completed inside the window / duration_s",
    scripts=SERVING,
)
def input_throughput(window: Window) -> float | None:
    return _rate(window, _tokens(window.ended, "prompt_tokens"))


@metric(
    "output_throughput",
    unit="tokens/s",
    better=Better.BIGGER,
    doc="generated tokens (the server's usage) of answers completed inside the window / duration_s",
    scripts=BOTH,
)
def output_throughput(window: Window) -> float | None:
    return _rate(window, _tokens(window.ended, "output_tokens"))


@metric(
    "total_token_throughput",
    unit="tokens/s",
    better=Better.BIGGER,
    doc="prompt and generated tokens of answers completed inside the window / duration_s",
    scripts=BOTH,
)
def total_token_throughput(window: Window) -> float | None:
    prompt, output = (_tokens(window.ended, name) for name in ("prompt_tokens", "output_tokens"))
    return None if prompt is None or output is None else _rate(window, prompt + output)


@metric(
    "request_goodput",
    unit="prompts/s",
    better=Better.BIGGER,
    doc="answers that kept every limit of script.slo / duration_s; a latency that an answer does not have breaks none",
    scripts=SERVING,
)
def request_goodput(window: Window) -> float | None:
    if not window.slo or not len(window.ended):
        return None
    return _rate(window, _good(window.ended_inside()))


@metric(
    "slo_attainment",
    unit="fraction",
    better=Better.BIGGER,
    doc="share of the completed and failed requests that kept every limit of script.slo",
    scripts=SERVING,
)
def slo_attainment(window: Window) -> float | None:
    asked = int(window.completed.sum() + failed_rows(window).sum())
    return _good(window) / asked if window.slo and asked else None


@metric(
    "completed", unit="requests", better=Better.OBSERVATION, doc="measured requests with a whole answer", scripts=BOTH
)
def completed(window: Window) -> float:
    return float(window.completed.sum())


@metric("failed", unit="requests", better=Better.SMALLER, doc="measured requests without a whole answer", scripts=BOTH)
def failed(window: Window) -> float:
    return float(failed_rows(window).sum())


@metric(
    "duration_s",
    unit="s",
    better=Better.OBSERVATION,
    doc="the window: first measured send to the last end of an answer, or to the first send of the cool-down",
    scripts=BOTH,
)
def duration_s(window: Window) -> float | None:
    return window.duration_s


@metric(
    "offered_rps",
    unit="requests/s",
    better=Better.OBSERVATION,
    doc="rate of the schedule that was drawn: (requests - 1) / (last scheduled - first); closed loops have none",
    scripts=SERVING,
)
def offered_rps(window: Window) -> float | None:
    offered: float | None = window.facts["offered_rps"]
    if offered is not None:
        return offered
    return _spread_rps(window.scheduled_ns) if window.scheduled else None


@metric(
    "achieved_rps",
    unit="requests/s",
    better=Better.OBSERVATION,
    doc="rate at which requests were sent: (requests - 1) / (last sent - first sent)",
    scripts=SERVING,
)
def achieved_rps(window: Window) -> float | None:
    return _spread_rps(window.sent_ns[window.sent_ns >= 0])


@metric(
    "p99_client_lag_ms",
    unit="ms",
    better=Better.OBSERVATION,
    doc="99th percentile of sent - scheduled; with load.max_in_flight the wait for a free place is in it",
    scripts=SERVING,
)
def p99_client_lag_ms(window: Window) -> float | None:
    found = window.statistics("client_lag_ms") if window.scheduled else None
    return None if found is None else found["p99"]


@metric(
    "mean_concurrency",
    unit="requests",
    better=Better.OBSERVATION,
    doc="requests under way, mean over the window's time",
    scripts=SERVING,
)
def mean_concurrency(window: Window) -> float | None:
    return None if window.in_flight is None else window.in_flight[0]


@metric("max_concurrency", unit="requests", better=Better.OBSERVATION, doc="most requests under way", scripts=SERVING)
def max_concurrency(window: Window) -> float | None:
    return None if window.in_flight is None else float(window.in_flight[1])


@metric(
    "mean_input_tokens",
    unit="tokens",
    better=Better.OBSERVATION,
    doc="prompt tokens of a completed request, by the server's usage",
    scripts=BOTH,
)
def mean_input_tokens(window: Window) -> float | None:
    return _mean_tokens(window, "prompt_tokens")


@metric(
    "mean_output_tokens",
    unit="tokens",
    better=Better.OBSERVATION,
    doc="generated tokens of a completed request, by the server's usage",
    scripts=BOTH,
)
def mean_output_tokens(window: Window) -> float | None:
    return _mean_tokens(window, "output_tokens")


@metric(
    "chunks_per_request",
    unit="chunks",
    better=Better.OBSERVATION,
    doc="chunks with text of a completed request; fewer than tokens where several tokens come in one",
    scripts=SERVING,
)
def chunks_per_request(window: Window) -> float | None:
    spoke = window.completed & (window.first_ns >= 0)
    return float(np.diff(window.gap_offsets)[spoke].mean() + 1) if spoke.any() else None


def _rate(window: Window, amount: int | None) -> float | None:
    return None if amount is None or window.duration_s is None or not len(window.ended) else amount / window.duration_s


def _tokens(records: Records, name: str) -> int | None:
    """Sum of a token count over completed rows; None where the server left one out."""
    tokens = getattr(records, name)
    return int(tokens.sum(dtype=np.int64)) if (tokens >= 0).all() else None


def _mean_tokens(window: Window, name: str) -> float | None:
    done = getattr(window, name)[window.completed]
    return float(done.mean()) if len(done) and (done >= 0).all() else None


def _spread_rps(times_ns: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> float | None:
    spread = int(np.ptp(times_ns)) if len(times_ns) > 1 else 0
    return (len(times_ns) - 1) * 1e9 / spread if spread else None


def _good(window: Window) -> int:
    """How many completed rows kept every limit; NaN (a latency that is not there) breaks none."""
    kept = window.completed.copy()
    for key, limit in window.slo.items():
        kept &= ~(getattr(window, key) > limit)
    return int(kept.sum())
