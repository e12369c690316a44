"""Images and recordings in prompts."""

from __future__ import annotations

import numpy as np

from benchhydra.metrics import metric
from benchhydra.metrics.throughput import per_second
from benchhydra.result import Better
from benchhydra.window import Window


@metric(
    "image_throughput",
    unit="images/s",
    better=Better.BIGGER,
    doc="images in prompts whose answers completed inside the window / duration_s",
    needs=("requests", "images"),
)
def image_throughput(window: Window) -> float | None:
    images = window.ended.labels.get("images")
    return None if images is None else per_second(window, int(images.sum(dtype=np.int64)))


@metric(
    "mean_image_tokens",
    unit="tokens",
    better=Better.OBSERVATION,
    doc="prompt tokens of an image: (the server's usage - tokens of the text) / images",
    needs=("requests", "tokens", "images"),
)
def mean_image_tokens(window: Window) -> float | None:
    images = window.labels.get("images")
    if images is None:
        return None
    counted = window.completed & (window.prompt_tokens > 0) & (window.asked_prompt_tokens > 0)
    tokens = (window.prompt_tokens - window.asked_prompt_tokens)[counted]
    return float(tokens.sum() / images[counted].sum()) if len(tokens) else None


@metric(
    "audio_throughput",
    unit="s/s",
    better=Better.BIGGER,
    doc="seconds of recordings whose answers completed inside the window / duration_s: the inverse real-time factor "
    "(RTFx) of the whole load; absent if a recording's length is unknown",
    needs=("requests", "audio"),
)
def audio_throughput(window: Window) -> float | None:
    lengths_ms = window.ended.labels.get("audio_ms")
    if lengths_ms is None or (lengths_ms < 0).any():
        return None
    per_second_ms = per_second(window, int(lengths_ms.sum(dtype=np.int64)))
    return None if per_second_ms is None else per_second_ms / 1e3


@metric(
    "mean_real_time_factor",
    unit="ratio",
    better=Better.SMALLER,
    doc="mean over requests of E2E latency / length of the recording; absent if a length is unknown",
    needs=("latency", "audio"),
)
def mean_real_time_factor(window: Window) -> float | None:
    lengths_ms = window.labels.get("audio_ms")
    if lengths_ms is None:
        return None
    lengths_ms, latencies_ms = lengths_ms[window.completed], window.e2el_ms[window.completed]
    return float((latencies_ms / lengths_ms).mean()) if len(lengths_ms) and (lengths_ms > 0).all() else None
