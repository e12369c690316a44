"""Counts of requests, tokens and chunks."""

from __future__ import annotations

import numpy as np

from benchhydra.metrics import metric
from benchhydra.result import Better
from benchhydra.window import Window


@metric("completed", unit="requests", better=Better.OBSERVATION, doc="measured requests with a whole answer")
def completed(window: Window) -> float:
    return float(window.completed.sum())


@metric("failed", unit="requests", better=Better.SMALLER, doc="measured requests without a whole answer")
def failed(window: Window) -> float:
    return float(window.failed.sum())


@metric(
    "mean_input_tokens",
    unit="tokens",
    better=Better.OBSERVATION,
    doc="prompt tokens of a completed request, by the server's usage",
    needs=("requests", "tokens"),
)
def mean_input_tokens(window: Window) -> float | None:
    return _mean_tokens(window, "prompt_tokens")


@metric(
    "mean_output_tokens",
    unit="tokens",
    better=Better.OBSERVATION,
    doc="generated tokens of a completed request, by the server's usage",
    needs=("requests", "tokens", "generated"),
)
def mean_output_tokens(window: Window) -> float | None:
    return _mean_tokens(window, "output_tokens")


@metric(
    "chunks_per_request",
    unit="chunks",
    better=Better.OBSERVATION,
    doc="chunks with text of a completed request; fewer than its tokens if chunks contain several tokens",
    needs=("latency", "stream"),
)
def chunks_per_request(window: Window) -> float | None:
    with_text = window.completed & (window.first_ns >= 0)
    return float(np.diff(window.gap_offsets)[with_text].mean() + 1) if with_text.any() else None


def _mean_tokens(window: Window, column: str) -> float | None:
    counts = getattr(window, column)[window.completed]
    return float(counts.mean()) if len(counts) and (counts >= 0).all() else None
