"""Reasoning before an answer: how much of it there is. When the answer begins is ``ttfat_ms``, among the latencies."""

from __future__ import annotations

from benchhydra.metrics import metric
from benchhydra.result import Better
from benchhydra.window import Window


@metric(
    "mean_reasoning_tokens",
    unit="tokens",
    better=Better.OBSERVATION,
    doc="tokens of reasoning of a completed request, by the server's usage; absent if it does not count them",
    needs=("requests", "tokens", "reasoning"),
)
def mean_reasoning_tokens(window: Window) -> float | None:
    tokens = window.labels.get("reasoning_tokens")
    if tokens is None or not window.completed.any() or (tokens[window.completed] < 0).any():
        return None
    chunks = window.labels.get("reasoning_chunks")
    if chunks is not None and chunks[window.completed].any() and not tokens[window.completed].any():
        return None  # vLLM says 0 if the chat template has opened the reasoning
    return float(tokens[window.completed].mean())


@metric(
    "mean_reasoning_chunks",
    unit="chunks",
    better=Better.OBSERVATION,
    doc="chunks of reasoning before the answer's first chunk, of a completed request",
    needs=("requests", "stream", "reasoning"),
)
def mean_reasoning_chunks(window: Window) -> float | None:
    chunks = window.labels.get("reasoning_chunks")
    return None if chunks is None or not window.completed.any() else float(chunks[window.completed].mean())


@metric(
    "answered_fraction",
    unit="fraction",
    better=Better.BIGGER,
    doc="completed requests whose reasoning ended, so that there is an answer / completed requests",
    needs=("requests", "stream", "reasoning"),
)
def answered_fraction(window: Window) -> float | None:
    chunks = window.labels.get("reasoning_chunks")
    if chunks is None or not window.completed.any():
        return None
    return float((chunks < window.chunks)[window.completed].mean())
