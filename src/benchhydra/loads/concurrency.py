"""``load=concurrency``: a closed loop with a fixed number of requests in flight.

A slow server slows this load down, which hides how long users would have waited: it measures capacity, not latency at
a given rate. For a rate with a limit of requests in flight, use an open-loop shape with ``load.max_in_flight``.
"""

from __future__ import annotations

import math

import numpy as np

from benchhydra.errors import ConfigError
from benchhydra.loadgen.pacing import Seconds
from benchhydra.loads import LoadShape
from benchhydra.registry import knob, option


@option("load", "concurrency")
class Concurrency(LoadShape):
    """Closed loop: load.max_in_flight requests in flight at all times.

    If num_prompts is null, it sends 10 * max_in_flight requests, and at least 100.
    """

    qps: float = knob(math.inf, "do not set: a closed loop has no rate", unit="requests/s")
    max_in_flight: int | None = knob(None, "number of requests in flight; mandatory", unit="requests")

    open_loop = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_in_flight is None:
            raise ConfigError("load=concurrency needs load.max_in_flight", hint="load=concurrency load.max_in_flight=8")
        if isinstance(self.qps, (int, float)) and not math.isinf(self.qps):
            hint = f"load=poisson qps={self.qps:g} load.max_in_flight={self.max_in_flight}"
            raise ConfigError(f"load.qps={self.qps:g} has no effect on load=concurrency, a closed loop", hint=hint)

    def send_times_s(self, count: int, rng: np.random.Generator, recorded_s: Seconds | None = None) -> Seconds:
        return np.zeros(count)

    def _default_count(self) -> int:
        return max(100, 10 * (self.max_in_flight or 1))
