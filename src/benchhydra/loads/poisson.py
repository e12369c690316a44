"""``load=poisson``: random arrivals at a mean rate, like requests of independent users."""

from __future__ import annotations

import math

import numpy as np

from benchhydra.loadgen.pacing import Seconds
from benchhydra.loads import LoadShape, check_number, relative_times
from benchhydra.registry import knob, option


@option("load", "poisson")
class Poisson(LoadShape):
    """Random arrivals: gaps of a gamma distribution with mean 1 / qps; burstiness 1 is a Poisson process.

    ``burstiness`` is the gamma's shape k, as in vLLM's benchmark: the gaps' coefficient of variation is 1 / sqrt(k), so
    below 1 arrivals are clustered, and far above 1 they are nearly even. Gaps are scaled so that the last request is
    sent exactly (n - 1) / qps after the first (see ``relative_times``): each gap is then a beta-distributed fraction of
    this time, with a squared coefficient of variation of (n - 2) / (k (n - 1) + 1) instead of 1 / k.
    """

    burstiness: float = knob(1.0, "shape of the gamma distribution of gaps: 1 Poisson, below 1 clustered, above 1 even")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(
            self, "burstiness", lambda value: 0 < value < math.inf, "must be above 0 and finite", hint="load=constant"
        )

    def send_times_s(self, count: int, rng: np.random.Generator, recorded_s: Seconds | None = None) -> Seconds:
        if math.isinf(self.qps) or count == 1:
            return np.zeros(count)
        gaps = rng.gamma(self.burstiness, 1.0, count - 1)
        if not gaps.any():  # a burstiness near 0: all draws were below the smallest number
            gaps[rng.integers(count - 1)] = 1.0
        return relative_times(gaps) * ((count - 1) / self.qps)

    def gap_variation(self) -> float | None:
        return 1 / self.burstiness

    def offered_rps(self, send_times_s: Seconds) -> float | None:
        """Return (n - 1) / time, also if the last gaps of clustered arrivals are 0; None if all are sent at once."""
        span_s = float(np.ptp(send_times_s)) if len(send_times_s) else 0.0
        return (len(send_times_s) - 1) / span_s if span_s else None
