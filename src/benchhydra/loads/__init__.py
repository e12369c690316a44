"""Load shapes: pure functions from a config and a random stream to send times. Nothing here waits.

A schedule is absolute: seconds from the start of the load, fixed before the first request is sent, so that a late
answer or a late client moves no later send. ``offered_rps`` is the rate of the schedule that was drawn, which for a
random shape differs from ``qps`` by chance (a Poisson schedule of n requests by about 100 / sqrt(n) percent). A shape
in which answers decide what is sent next overrides ``pacing`` as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from omegaconf import II

from benchhydra.errors import ConfigError
from benchhydra.loadgen.pacing import Pacing, Seconds
from benchhydra.loadgen.pacing.default import default_pacing
from benchhydra.registry import check_choices, knob


@dataclass(kw_only=True)
class LoadShape:
    """Base of the ``load`` group: what every load shape can be told."""

    qps: float = knob(II("qps"), "mean offered rate; the root key qps", unit="requests/s")
    duration_s: float = knob(60.0, "length of the load where num_prompts is null", unit="s")
    max_in_flight: int | None = knob(
        None, "most requests under way; later ones wait, and their wait shows", unit="requests"
    )
    warmup_s: float = knob(0.0, "the first seconds of the load that are sent and not measured", unit="s")
    cooldown_s: float = knob(0.0, "the last seconds of the load that are sent and not measured", unit="s")
    steady: str = knob(
        "fixed",
        "the measured window: warmup_s and cooldown_s as they are, or auto: the steady part of what they leave",
        choices=("fixed", "auto"),
    )
    processes: str = knob("auto", "client processes: auto or a number")
    executor: str = knob(
        "local", "where they run: on this machine, or on the nodes of a Ray cluster", choices=("local", "ray")
    )

    open_loop = True  # a class fact: send times do not depend on answers
    stationary = True  # a class fact: the rate is meant to stay the same from begin to end

    def __post_init__(self) -> None:
        check_number(
            self, "qps", lambda value: value > 0, "must be above 0", hint="qps=5, or qps=inf to send all at once"
        )
        check_number(self, "duration_s", lambda value: 0 < value < math.inf, "must be above 0 and finite")
        check_number(self, "max_in_flight", lambda value: value >= 1, "must be at least 1, or null for no limit")
        check_number(self, "warmup_s", lambda value: 0 <= value < math.inf, "must be at least 0")
        check_number(self, "cooldown_s", lambda value: 0 <= value < math.inf, "must be at least 0")
        processes = str(self.processes)
        if processes != "auto" and not (processes.isdecimal() and int(processes) >= 1):
            raise ConfigError(f"load.processes={processes} is neither auto nor a number of at least 1")
        check_choices(self)
        self._check_one_process()

    def count(self, num_prompts: int | None) -> int:
        """How many requests: ``num_prompts``, or what the duration holds. Raises ConfigError where neither says."""
        count = self._default_count() if num_prompts is None else num_prompts
        length_s = self._length_s(count)
        if length_s is not None and self.warmup_s + self.cooldown_s >= length_s:
            trimmed = f"load.warmup_s={self.warmup_s:g} and load.cooldown_s={self.cooldown_s:g}"
            raise ConfigError(
                f"{trimmed} leave nothing to measure of a load of {length_s:.4g} s", hint="load.duration_s=120"
            )
        return count

    def send_times_s(self, count: int, rng: np.random.Generator, recorded_s: Seconds | None = None) -> Seconds:
        """Send times in seconds from the start of the load, shape (count,), not decreasing, the first at least 0.

        recorded_s: send times that came with the prompts, shape (count,); only a shape that replays them uses them.
        """
        raise NotImplementedError

    def pacing(self, send_times_s: Seconds) -> Pacing:
        """What decides which request is sent next: a schedule, or a closed loop where a limit holds back requests
        that may all be sent at once. A pacing of a shape's own runs in one client process.
        """
        return default_pacing(send_times_s, self.max_in_flight)

    def offered_rps(self, send_times_s: Seconds) -> float | None:
        """The rate that the schedule asks for, or None where it asks for none (closed loop, all at once)."""
        if not self.open_loop or len(send_times_s) < 2 or send_times_s[-1] <= send_times_s[0]:
            return None
        return float((len(send_times_s) - 1) / (send_times_s[-1] - send_times_s[0]))

    def _default_count(self) -> int:
        if math.isinf(self.qps):
            raise ConfigError("qps=inf needs num_prompts", hint="num_prompts=100 qps=inf")
        return max(1, round(self.duration_s * self.qps))

    def _length_s(self, count: int) -> float | None:
        """About how long sending takes; None where that depends on the server."""
        return None if math.isinf(self.qps) else count / self.qps

    def _check_one_process(self) -> None:
        """Raise ConfigError where a pacing of the shape's own would have to run in several client processes."""
        if type(self).pacing is LoadShape.pacing:
            return
        if self.executor == "ray" or str(self.processes) not in ("auto", "1"):
            setting = "executor=ray" if self.executor == "ray" else f"processes={self.processes}"
            raise ConfigError(
                f"load.{setting}: this load runs in one client process, because answers decide what is sent next",
                hint="load.executor=local load.processes=1",
            )


def check_number(config: Any, name: str, holds: Any, rule: str, *, hint: str = "") -> None:
    """Raise ConfigError where a number breaks its rule. None, and texts that are still to be resolved, pass."""
    value = getattr(config, name)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not holds(value):
        raise ConfigError(f"load.{name}={value:g} {rule}", hint=hint)


def from_gaps(gaps_s: Seconds) -> Seconds:
    """Send times from the gaps between them, the first at 0: shape (n - 1,) -> (n,)."""
    return np.concatenate(([0.0], np.cumsum(gaps_s)))
