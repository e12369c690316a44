"""Throughput: requests and tokens completed inside the window / length of the window."""

from __future__ import annotations

import numpy as np

from benchhydra.metrics import metric
from benchhydra.records import Records
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


def per_second(window: Window, amount: int | None) -> float | None:
    """Return amount / window length in s; None if the amount is None or no answer ended inside the window."""
    return None if amount is None or window.duration_s is None or not len(window.ended) else amount / window.duration_s


def _tokens(records: Records, column: str) -> int | None:
    """Return the sum of a token count over rows; None if the server did not report one of them."""
    tokens = getattr(records, column)
    return int(tokens.sum(dtype=np.int64)) if (tokens >= 0).all() else None
