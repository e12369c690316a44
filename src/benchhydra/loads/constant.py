"""``load=constant``: evenly spaced arrivals, the load with the least variance."""

from __future__ import annotations

import math

import numpy as np

from benchhydra.loadgen.pacing import Seconds
from benchhydra.loads import LoadShape
from benchhydra.registry import option


@option("load", "constant")
class Constant(LoadShape):
    """Evenly spaced arrivals: one request each 1 / qps seconds."""

    def send_times_s(self, count: int, rng: np.random.Generator, recorded_s: Seconds | None = None) -> Seconds:
        return np.zeros(count) if math.isinf(self.qps) else np.arange(count) / self.qps

    def gap_variation(self) -> float | None:
        return 0.0
