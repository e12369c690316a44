"""Load shapes: pure functions from a config and a random generator to send times. Nothing here waits.

A schedule is absolute: seconds from the start of the load, fixed before the first request, so that late answers or a
late client do not delay later requests. A schedule of n requests has exactly the rate that was asked for: the last
request is sent (n - 1) / qps seconds after the first, also if arrivals are random. Otherwise a Poisson schedule of n
requests would be faster or slower by about 100 / sqrt(n) percent, which differs with each seed, and the throughput of
two runs could not be compared. A shape in which answers decide what is sent next also overrides ``pacing``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from omegaconf import II

from benchhydra.errors import ConfigError
from benchhydra.loadgen.client_behaviour import Cancellations
from benchhydra.loadgen.pacing import Pacing, Seconds
from benchhydra.loadgen.pacing.default import default_pacing
from benchhydra.registry import check_choices, knob


@dataclass(kw_only=True)
class LoadShape:
    """Base of the ``load`` group, with the options that all load shapes have."""

    qps: float = knob(II("qps"), "mean offered rate; by default the root key qps", unit="requests/s")
    duration_s: float = knob(60.0, "length of the load if num_prompts is null", unit="s")
    max_in_flight: int | None = knob(
        None,
        "maximum number of requests in flight; further ones wait (scheduled latencies include it)",
        unit="requests",
    )
    warmup_s: float = knob(0.0, "first seconds of the load that are not measured", unit="s")
    cooldown_s: float = knob(0.0, "last seconds of the load that are not measured", unit="s")
    steady: str = knob(
        "fixed",
        "the measured window: fixed: cut only warmup_s and cooldown_s; auto: also cut the remaining warm-up (MSER-5)",
        choices=("fixed", "auto"),
    )
    stop_when_decided: bool = knob(
        False, "end the load as soon as it is sure whether slo is met; only with one client process"
    )
    cancel_fraction: float = knob(
        0.0, "fraction of requests that the client cancels: it closes their connections", unit="fraction"
    )
    cancel_after_s: float | None = knob(None, "when they are cancelled: this long after they were sent", unit="s")
    cancel_after_chunks: int | None = knob(
        None, "when they are cancelled: after so many chunks of text (to 20 ms)", unit="chunks"
    )
    processes: str = knob("auto", "number of client processes, or auto")
    executor: str = knob(
        "local", "where client processes run: on this machine, or on a Ray cluster", choices=("local", "ray")
    )

    open_loop = True  # class constant: send times do not depend on answers
    stationary = True  # class constant: the rate is constant over the load
    replays = False  # class constant: the send times come from the dataset
    loops = 1  # how often the dataset's prompts are sent, one time after the other
    has_schedule = False  # class constant: requests have scheduled times although these depend on answers

    def __post_init__(self) -> None:
        check_number(
            self, "qps", lambda value: value > 0, "must be above 0", hint="qps=5, or qps=inf to send all at once"
        )
        check_number(self, "duration_s", lambda value: 0 < value < math.inf, "must be above 0 and finite")
        check_number(self, "max_in_flight", lambda value: value >= 1, "must be at least 1, or null for no limit")
        check_number(self, "warmup_s", lambda value: 0 <= value < math.inf, "must be at least 0")
        check_number(self, "cooldown_s", lambda value: 0 <= value < math.inf, "must be at least 0")
        self._check_cancellations()
        processes = str(self.processes)
        if processes != "auto" and not (processes.isdecimal() and int(processes) >= 1):
            raise ConfigError(f"load.processes={processes} is neither auto nor a number of at least 1")
        check_choices(self)
        self._check_one_process()

    def count(self, num_prompts: int | None) -> int:
        """Return the number of requests: ``num_prompts``, or rate * duration. Raises ConfigError if neither is set."""
        count = self._default_count() if num_prompts is None else num_prompts
        length_s = self._length_s(count)
        if length_s is not None and self.warmup_s + self.cooldown_s >= length_s:
            trimmed = f"load.warmup_s={self.warmup_s:g} and load.cooldown_s={self.cooldown_s:g}"
            raise ConfigError(
                f"{trimmed} leave nothing to measure of a load of {length_s:.4g} s", hint="load.duration_s=120"
            )
        return count

    def send_times_s(self, count: int, rng: np.random.Generator, recorded_s: Seconds | None = None) -> Seconds:
        """Return send times in seconds from the start of the load, shape (count,), not decreasing, all at least 0.

        recorded_s: send times from the dataset, shape (count,), for a shape that replays them.
        """
        raise NotImplementedError

    def length_s(self, count: int, recorded_s: Seconds | None = None) -> float | None:
        """Return about how long sending takes, in seconds; None if that depends on the server.

        recorded_s: send times from the dataset, for a shape that replays them.
        """
        return self._length_s(count)

    def pacing(self, send_times_s: Seconds) -> Pacing:
        """Return the pacing, which decides which request is sent next; by default a schedule or a closed loop.

        If a subclass overrides this, the load runs in one client process.
        """
        return default_pacing(send_times_s, self.max_in_flight)

    def cancellations(self, count: int, rng: np.random.Generator) -> Cancellations | None:
        """Return which of ``count`` requests the client cancels, and when; None if it cancels none."""
        if not self.cancel_fraction:
            return None
        rows = np.zeros(count, dtype=np.uint8)
        rows[rng.permutation(count)[: round(count * self.cancel_fraction)]] = 1
        return Cancellations(rows=rows.tobytes(), after_s=self.cancel_after_s, after_chunks=self.cancel_after_chunks)

    def asked_rps(self) -> float | None:
        """Return the mean rate in requests/s that the config asks for; None if the load has no such rate."""
        return None if not self.open_loop or math.isinf(self.qps) else self.qps

    def offered_rps(self, send_times_s: Seconds) -> float | None:
        """Return the rate of the schedule in requests/s; None if it has none (closed loop, all at once).

        It is the number of requests before the last ones / time from the first to the last: of requests that are sent
        together at the end, none counts, since the time until the next ones is unknown.
        """
        if not self.open_loop or not len(send_times_s) or send_times_s[-1] <= send_times_s[0]:
            return None
        earlier = np.searchsorted(send_times_s, send_times_s[-1], side="left")
        return float(earlier / (send_times_s[-1] - send_times_s[0]))

    def gap_variation(self) -> float | None:
        """Return the squared coefficient of variation of the times between arrivals, which are independent draws of a
        gamma distribution (1: Poisson, 0: even); None if arrivals are of another kind.
        """
        return None

    def at_once(self, count: int) -> int:
        """Return how many of ``count`` requests are certainly in flight together; 1 if that depends on the server."""
        together = count if math.isinf(self.qps) and not self.replays and self._has_default_pacing() else 1
        return min(together, self.max_in_flight or count)

    def _check_cancellations(self) -> None:
        """Raise ConfigError if it is not clear when requests are cancelled."""
        check_number(self, "cancel_fraction", lambda value: 0 <= value <= 1, "must be from 0 to 1")
        check_number(self, "cancel_after_s", lambda value: 0 <= value < math.inf, "must be at least 0 and finite")
        check_number(self, "cancel_after_chunks", lambda value: value >= 1, "must be at least 1")
        chosen = [name for name in ("cancel_after_s", "cancel_after_chunks") if getattr(self, name) is not None]
        if self.cancel_fraction and len(chosen) != 1:
            text = f"load.cancel_fraction={self.cancel_fraction:g} needs a time or a number of chunks"
            raise ConfigError(text, hint="load.cancel_after_s=2, or load.cancel_after_chunks=20")
        if chosen and not self.cancel_fraction:
            raise ConfigError(f"load.{chosen[0]} has no effect", hint="load.cancel_fraction=0.1")

    def _has_default_pacing(self) -> bool:
        return type(self).pacing is LoadShape.pacing

    def _default_count(self) -> int:
        if math.isinf(self.qps):
            raise ConfigError("qps=inf needs num_prompts", hint="num_prompts=100 qps=inf")
        return max(1, round(self.duration_s * self.qps))

    def _length_s(self, count: int) -> float | None:
        """Return about how long sending takes; None if that depends on the server."""
        return None if math.isinf(self.qps) else count / self.qps

    def _check_one_process(self) -> None:
        """Raise ConfigError if a shape with its own pacing is to run in several client processes."""
        if self._has_default_pacing():
            return
        if self.executor == "ray" or str(self.processes) not in ("auto", "1"):
            setting = "executor=ray" if self.executor == "ray" else f"processes={self.processes}"
            raise ConfigError(
                f"load.{setting}: this load runs in one client process, because answers decide what is sent next",
                hint="load.executor=local load.processes=1",
            )


def check_number(config: Any, name: str, holds: Any, rule: str, *, hint: str = "") -> None:
    """Raise ConfigError if a number breaks its rule. None and unresolved interpolations (texts) pass."""
    value = getattr(config, name)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not holds(value):
        raise ConfigError(f"load.{name}={value:g} {rule}", hint=hint)


def relative_times(gaps: Seconds) -> Seconds:
    """Return arrival times as fractions of the whole time, the first 0 and the last 1: shape (..., n - 1) -> (..., n).

    The sum of the gaps must not be 0. If gaps are independent draws from a gamma distribution of shape k, they are, as
    fractions of their sum, independent of this sum and Dirichlet-distributed with n - 1 parameters k (L. Devroye,
    Non-Uniform Random Variate Generation, 1986, chapter XI.4). So times that are scaled to a given length are those of
    the unscaled arrivals that happen to have this length. For a Poisson process (k = 1), the arrivals between the first
    and the last one are then uniform in time (S. M. Ross, Introduction to Probability Models, "Conditional Distribution
    of the Arrival Times").
    """
    times = np.cumsum(gaps, axis=-1)
    return np.concatenate((np.zeros_like(gaps[..., :1]), times / times[..., -1:]), axis=-1)
