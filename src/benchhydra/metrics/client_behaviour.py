"""What the clients did besides sending and reading: requests that they cancelled, and requests that they sent again."""

from __future__ import annotations

import numpy as np

from benchhydra.metrics import metric
from benchhydra.records import Status
from benchhydra.result import Better
from benchhydra.window import Window


@metric(
    "cancelled",
    unit="requests",
    better=Better.OBSERVATION,
    doc="measured requests that the client cancelled (load.cancel_fraction); they neither completed nor failed",
    needs=("requests", "cancellations"),
)
def cancelled(window: Window) -> float:
    return float((window.status == Status.USER_CANCELLED).sum())


@metric(
    "retries",
    unit="requests",
    better=Better.SMALLER,
    doc="how often measured requests were sent again after a failure (script.retries)",
    needs=("requests", "retries"),
)
def retries(window: Window) -> float:
    return float(np.maximum(window.labels["tries"] - 1, 0).sum())
