"""Load shapes: pure functions from a config and a random stream to send times. Nothing here waits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from omegaconf import II

from benchhydra.errors import ConfigError
from benchhydra.registry import knob

Seconds = npt.NDArray[np.float64]


@dataclass(kw_only=True)
class LoadShape:
    """Base of the ``load`` group: what every load shape can be told."""

    qps: float = knob(II("qps"), "mean offered rate; the root key qps", unit="requests/s")
    duration_s: float = knob(60.0, "length of the load where num_prompts is null", unit="s")
    max_in_flight: int | None = knob(None, "most requests under way; later ones wait, and their wait shows", unit="requests")
    warmup_s: float = knob(0.0, "the first seconds of the load that are sent and not measured", unit="s")
    cooldown_s: float = knob(0.0, "the last seconds of the load that are sent and not measured", unit="s")
    processes: str = knob("auto", "client processes: auto or a number")

    open_loop = True  # a class fact: send times do not depend on answers

    def __post_init__(self) -> None:
        if isinstance(self.qps, (int, float)) and not self.qps > 0:
            raise ConfigError(f"qps={self.qps} is not a rate", hint="qps=5, or qps=inf to send everything at once")

    def count(self, num_prompts: int | None) -> int:
        """How many requests: ``num_prompts``, or duration_s * qps. Raises ConfigError where neither says."""
        if num_prompts is not None:
            return num_prompts
        if math.isinf(self.qps):
            raise ConfigError("qps=inf needs num_prompts", hint="num_prompts=100 qps=inf")
        return max(1, round(self.duration_s * self.qps))

    def offsets_s(self, count: int, rng: np.random.Generator) -> Seconds:
        """Send times in seconds from the start of the load, shape (count,), not decreasing."""
        raise NotImplementedError

    def offered_rps(self, offsets_s: Seconds) -> float | None:
        """The rate that the schedule asks for, or None where it asks for none (closed loop, all at once)."""
        if not self.open_loop or len(offsets_s) < 2 or offsets_s[-1] <= offsets_s[0]:
            return None
        return float((len(offsets_s) - 1) / (offsets_s[-1] - offsets_s[0]))


