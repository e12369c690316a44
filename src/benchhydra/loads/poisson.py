"""``load=poisson``: random arrivals at a mean rate, like requests of independent users."""

from __future__ import annotations

import math

import numpy as np

from benchhydra.loadgen.pacing import Seconds
from benchhydra.loads import LoadShape, check_number, from_gaps
from benchhydra.registry import knob, option


@option("load", "poisson")
class Poisson(LoadShape):
    """Random arrivals: gaps of a gamma distribution with mean 1 / qps; burstiness 1 is a Poisson process.

    ``burstiness`` is the gamma's shape k, as in vLLM's benchmark: the gaps' coefficient of variation is 1 / sqrt(k), so
    below 1 arrivals are clustered, and far above 1 they are nearly even.
    """

    burstiness: float = knob(1.0, "shape of the gamma distribution of gaps: 1 Poisson, below 1 clustered, above 1 even")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(
            self, "burstiness", lambda value: 0 < value < math.inf, "must be above 0 and finite", hint="load=constant"
        )

    def send_times_s(self, count: int, rng: np.random.Generator, recorded_s: Seconds | None = None) -> Seconds:
        if math.isinf(self.qps):
            return np.zeros(count)
        return from_gaps(rng.gamma(self.burstiness, 1.0 / (self.qps * self.burstiness), count - 1))
