"""``load=ramp``: a rising (or falling) rate, to find the rate at which a server begins to fail in one run."""

from __future__ import annotations

import math

import numpy as np

from benchhydra.errors import ConfigError
from benchhydra.loadgen.pacing import Seconds
from benchhydra.loads import LoadShape, check_number, relative_times
from benchhydra.registry import knob, option


@option("load", "ramp")
class Ramp(LoadShape):
    """A rate that changes from load.start_qps to qps, linearly or exponentially.

    If num_prompts is null the ramp takes load.duration_s; otherwise as long as that many requests take. Arrivals are an
    inhomogeneous Poisson process conditioned on their number, first and last (arrivals of constant rate, transformed by
    the inverse of the rate's integral), or evenly spaced in that integral. So all seeds have the same mean rate.
    """

    start_qps: float = knob(1.0, "rate at the start; qps is the rate at the end", unit="requests/s")
    curve: str = knob("linear", "how the rate goes from start_qps to qps", choices=("linear", "exponential"))
    arrivals: str = knob("poisson", "random arrivals, or evenly spaced ones", choices=("poisson", "constant"))

    stationary = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "start_qps", lambda value: 0 < value < math.inf, "must be above 0 and finite")
        if isinstance(self.qps, float) and math.isinf(self.qps):
            raise ConfigError("load=ramp cannot end at qps=inf", hint="qps=50 load.start_qps=1")

    def send_times_s(self, count: int, rng: np.random.Generator, recorded_s: Seconds | None = None) -> Seconds:
        fraction = np.arange(count) / count
        if self.arrivals == "poisson" and count > 1:
            fraction = relative_times(rng.exponential(1.0, count - 1)) * fraction[-1]
        return self._inverse(fraction) * count / self.asked_rps()

    def asked_rps(self) -> float:
        """Return the mean of the rate over the ramp."""
        if self.curve == "exponential" and not math.isclose(self.qps, self.start_qps, rel_tol=1e-9):
            return (self.qps - self.start_qps) / math.log(self.qps / self.start_qps)
        return (self.qps + self.start_qps) / 2

    def _inverse(self, fraction: Seconds) -> Seconds:
        """Return the fraction of the duration after which this fraction of all requests is sent."""
        ratio = self.qps / self.start_qps
        if math.isclose(ratio, 1.0, rel_tol=1e-9):
            return fraction
        if self.curve == "exponential":
            return np.log1p(fraction * (ratio - 1)) / math.log(ratio)
        return (np.sqrt(1 + fraction * (ratio**2 - 1)) - 1) / (ratio - 1)

    def _default_count(self) -> int:
        return max(1, round(self.duration_s * self.asked_rps()))

    def _length_s(self, count: int) -> float:
        return count / self.asked_rps()
