"""Items of answers that are no text: vectors of embeddings, scores of documents."""

from __future__ import annotations

import numpy as np

from benchhydra.metrics import metric
from benchhydra.metrics.throughput import per_second
from benchhydra.result import Better
from benchhydra.window import Window


@metric(
    "item_throughput",
    unit="items/s",
    better=Better.BIGGER,
    doc="vectors or scores in answers completed inside the window / duration_s",
    needs=("requests", "items"),
)
def item_throughput(window: Window) -> float | None:
    items = window.ended.labels.get("items")
    return None if items is None else per_second(window, int(items.sum(dtype=np.int64)))


@metric(
    "mean_items",
    unit="items",
    better=Better.OBSERVATION,
    doc="vectors or scores in the answer to a request",
    needs=("requests", "items"),
)
def mean_items(window: Window) -> float | None:
    items = window.labels.get("items")
    completed = np.zeros(0) if items is None else items[window.completed]
    return float(completed.mean()) if len(completed) else None
