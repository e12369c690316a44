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

    num_prompts is the number of records that are replayed; null: all. qps and duration_s have no effect.
    """

    qps: float = knob(math.inf, "do not set: the recording has its own rate, see load.speedup", unit="requests/s")
    speedup: float = knob(1.0, "replay this many times as fast as recorded")
    loops: int = knob(1, "replay the recording this many times, one after the other")

    stationary = False
    replays = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "speedup", lambda value: 0 < value < math.inf, "must be above 0 and finite")
        check_number(self, "loops", lambda value: value >= 1, "must be at least 1")
        if isinstance(self.qps, (int, float)) and not math.isinf(self.qps):
            raise ConfigError(f"load.qps={self.qps:g} has no effect on load=trace", hint="load.speedup=2")

    def count(self, num_prompts: int | None) -> int:
        return super().count(num_prompts) * self.loops

    def send_times_s(self, count: int, rng: np.random.Generator, recorded_s: Seconds | None = None) -> Seconds:
        """Return recorded times; each loop begins a mean gap after the last request of the one before."""
        if recorded_s is None or len(recorded_s) != count or not np.isfinite(recorded_s).all():
            raise ConfigError(
                "load=trace needs a dataset with a send time for each prompt",
                hint="dataset=jsonl with send_at_s in each record, or dataset=token_trace",
            )
        loops = np.asarray(recorded_s, dtype=np.float64).reshape(self.loops, -1)
        if np.any(np.diff(loops, axis=1) < 0):
            raise ConfigError("load=trace: the dataset's send times decrease", hint="sort the dataset by time")
        relative_s = loops - loops[:, :1]
        begins_s = np.arange(self.loops) * _period_s(relative_s[0])
        return np.asarray((relative_s + begins_s[:, None]).ravel() / self.speedup, dtype=np.float64)

    def length_s(self, count: int, recorded_s: Seconds | None = None) -> float | None:
        """recorded_s: send times of one loop."""
        if recorded_s is None or not len(recorded_s):
            return None
        relative_s = np.asarray(recorded_s) - recorded_s[0]
        return float((self.loops - 1) * _period_s(relative_s) + relative_s[-1]) / self.speedup

    def _default_count(self) -> int:
        raise ConfigError("load=trace needs num_prompts", hint="num_prompts=1000 load=trace")


def _period_s(relative_s: Seconds) -> float:
    """Return the time from the begin of one loop to that of the next: the recording's length and its mean gap."""
    return float(relative_s[-1]) * len(relative_s) / max(1, len(relative_s) - 1)
