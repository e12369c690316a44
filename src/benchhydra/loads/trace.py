"""``load=trace``: replays recorded send times of real traffic."""

from __future__ import annotations

import math

import numpy as np

from benchhydra.errors import ConfigError
from benchhydra.loadgen.pacing import Seconds
from benchhydra.loads import LoadShape, check_number
from benchhydra.registry import knob, option


@option("load", "trace")
class Trace(LoadShape):
    """Recorded arrivals: the send times in the dataset, relative to the first one.

    num_prompts sets the number of requests; qps and duration_s have no effect.
    """

    qps: float = knob(math.inf, "do not set: the recording has its own rate, see load.speedup", unit="requests/s")
    speedup: float = knob(1.0, "replay this many times as fast as recorded")

    stationary = False
    replays = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "speedup", lambda value: 0 < value < math.inf, "must be above 0 and finite")
        if isinstance(self.qps, (int, float)) and not math.isinf(self.qps):
            raise ConfigError(f"load.qps={self.qps:g} has no effect on load=trace", hint="load.speedup=2")

    def send_times_s(self, count: int, rng: np.random.Generator, recorded_s: Seconds | None = None) -> Seconds:
        if recorded_s is None or len(recorded_s) != count or not np.isfinite(recorded_s).all():
            raise ConfigError(
                "load=trace needs a dataset with a send time for each prompt",
                hint="dataset=jsonl with send_at_s in each record, or dataset=token_trace",
            )
        if np.any(np.diff(recorded_s) < 0):
            raise ConfigError("load=trace: the dataset's send times decrease", hint="sort the dataset by time")
        return np.asarray((recorded_s - recorded_s[0]) / self.speedup, dtype=np.float64)

    def length_s(self, count: int, recorded_s: Seconds | None = None) -> float | None:
        if recorded_s is None or not len(recorded_s):
            return None
        return float(recorded_s[-1] - recorded_s[0]) / self.speedup

    def _default_count(self) -> int:
        raise ConfigError("load=trace needs num_prompts", hint="num_prompts=1000 load=trace")
