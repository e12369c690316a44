"""``load=burst``: groups of requests sent at once, like batch jobs or retries after an outage."""

from __future__ import annotations

import math

import numpy as np

from benchhydra.loadgen.pacing import Seconds
from benchhydra.loads import LoadShape, check_number
from benchhydra.registry import knob, option


@option("load", "burst")
class Burst(LoadShape):
    """Groups of requests sent at once, evenly spaced, at a mean rate of qps."""

    size: int = knob(10, "requests in a group", unit="requests")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "size", lambda value: value >= 1, "must be at least 1")

    def send_times_s(self, count: int, rng: np.random.Generator, recorded_s: Seconds | None = None) -> Seconds:
        if math.isinf(self.qps):
            return np.zeros(count)
        return np.asarray(np.arange(count) // self.size * (self.size / self.qps), dtype=np.float64)

    def at_once(self, count: int) -> int:
        together = count if math.isinf(self.qps) else min(count, self.size)
        return min(together, self.max_in_flight or count)
