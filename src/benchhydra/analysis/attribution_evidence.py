"""What was observed beside the latencies of two sides, and what of it moved: load, batch, caches, GPUs, cores, client.

``OBSERVED`` has one line for each figure that may be evidence. A figure that varies between the runs of a side counts
as moved only beyond two standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from benchhydra.analysis.runs import Run
from benchhydra.analysis.stats import student_t
from benchhydra.artifacts import RESULT_FILE, read_json
from benchhydra.errors import ResultError

#: A move must be larger than this many standard errors.
NOISE_ERRORS = 2.0
INTERVAL = 0.95
#: The smallest move of a fraction (absolute), and of any other figure (relative to the larger side), that is mentioned.
SMALLEST_FRACTION = 0.03
SMALLEST_RATIO = 0.1

Values = Mapping[str, float]


@dataclass(frozen=True)
class Observed:
    """A figure that may be evidence. name: its words; least: the smallest absolute move that is mentioned.

    absent: its value in a run that lacks it, if another run has it.
    """

    metric: str
    name: str
    unit: str
    least: float = 0.0
    absent: float | None = None


OBSERVED = (
    Observed("requests_waiting", "waiting", "requests", least=0.3),
    Observed("requests_running", "running", "requests", least=0.3),
    Observed("server_max_kv_cache_usage", "KV cache", "fraction"),
    Observed("server_preemptions_per_minute", "preemptions", "a minute", least=0.5),
    Observed("server_prefix_hit_fraction", "prefix cache hits", "fraction"),
    Observed("server_accepted_length", "generated", "tokens a step", absent=1.0),
    Observed("server_acceptance_fraction", "drafts accepted", "fraction"),
    Observed("server_step_tokens", "tokens in a step", "tokens", least=1),
    Observed("mean_input_tokens", "prompt", "tokens", least=1),
    Observed("mean_output_tokens", "answer", "tokens", least=1),
    Observed("achieved_rps", "rate", "requests/s"),
    Observed("mean_itl_ms", "ITL", "ms", least=0.1),
    Observed("itl_stalls_ms", "mean less median ITL", "ms", least=0.1),
    Observed("p99_itl_ms", "p99 ITL", "ms", least=0.5),
    Observed("server_cpu_wait_fraction", "server waits for a core", "fraction"),
    Observed("mean_server_cpu_fraction", "server's CPU", "fraction"),
    Observed("other_cpu_fraction", "CPU used by others", "fraction"),
    Observed("mean_cpu_pressure_fraction", "CPU pressure", "fraction"),
    Observed("mean_memory_pressure_fraction", "memory pressure", "fraction"),
    Observed("swap_mib_per_s", "swapping", "MiB/s", least=0.1),
    Observed("mean_gpu_utilization_fraction", "GPU busy", "fraction"),
    Observed("mean_gpu_sm_clock_mhz", "GPU clock", "MHz"),
    Observed("mean_gpu_power_w", "GPU power", "W", least=5),
    Observed("max_gpu_temperature_c", "GPU temperature", "C", least=3),
    Observed("gpu_throttled_fraction", "GPU throttled", "fraction"),
    Observed("gpu_power_capped_fraction", "GPU at its power limit", "fraction"),
    Observed("client_wait_fraction", "client waits for a core", "fraction"),
    Observed("mean_client_cpu_fraction", "client's CPU", "fraction"),
    Observed("mean_client_loop_lag_ms", "client's lag", "ms", least=0.2),
    Observed("server_answer_ms", "/metrics answers in", "ms", least=0.3),
)


class MeanChange(NamedTuple):
    """The means of two sides and their difference. low, high: its 95 % interval; None with a single run on a side."""

    base: float
    candidate: float
    change: float
    error: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Move:
    """The means of one observed figure on both sides."""

    metric: str
    name: str
    unit: str
    base: float
    candidate: float
    beyond_noise: bool = True

    @property
    def size(self) -> float:
        """How far it moved: a fraction absolutely, anything else relative to its larger side."""
        distance = abs(self.candidate - self.base)
        largest = max(abs(self.base), abs(self.candidate))
        return distance if self.unit == "fraction" else distance / largest if largest else 0.0


@dataclass(frozen=True, kw_only=True)
class Moves:
    """All observed figures that both sides have. base_values, candidate_values: the figures of each run."""

    base_values: Sequence[Values]
    candidate_values: Sequence[Values]
    by_metric: Mapping[str, Move]

    def swapped(self) -> Moves:
        """The same with the sides exchanged."""
        moves = {
            metric: replace(move, base=move.candidate, candidate=move.base) for metric, move in self.by_metric.items()
        }
        return Moves(base_values=self.candidate_values, candidate_values=self.base_values, by_metric=moves)

    def base(self, metric: str) -> float | None:
        """The mean of a figure in the base; None if a side lacks it."""
        return self.by_metric[metric].base if metric in self.by_metric else None

    def candidate(self, metric: str) -> float | None:
        """The mean of a figure in the candidate; None if a side lacks it."""
        return self.by_metric[metric].candidate if metric in self.by_metric else None

    def rise(self, metric: str) -> float:
        """Candidate less base of a figure that moved beyond noise, else 0."""
        move = self.by_metric.get(metric)
        return move.candidate - move.base if move and move.beyond_noise else 0.0

    def relative_rise(self, metric: str) -> float:
        """The same as a fraction of the base; 0 for a base of 0."""
        base = self.base(metric)
        return self.rise(metric) / base if base else 0.0

    def ranked(self, first: Sequence[str]) -> Iterator[Move]:
        """What moved enough to be mentioned: these metrics first, then the largest moves."""
        order = {metric: place for place, metric in reversed(list(enumerate(first)))}
        least = {observed.metric: observed.least for observed in OBSERVED}
        moved = [move for move in self.by_metric.values() if _is_worth_mention(move, least[move.metric])]
        yield from sorted(moved, key=lambda move: (order.get(move.metric, len(order)), -move.size))


def moves_between(base: Sequence[Run], candidate: Sequence[Run]) -> Moves:
    """The observed figures of two sides."""
    base_values, candidate_values = [observed_values(run) for run in base], [observed_values(run) for run in candidate]
    moves = {}
    for observed in OBSERVED:
        sides = [[values.get(observed.metric) for values in side] for side in (base_values, candidate_values)]
        change = mean_change(*_filled(sides, observed.absent))
        if change is not None:
            moves[observed.metric] = Move(
                metric=observed.metric,
                name=observed.name,
                unit=observed.unit,
                base=change.base,
                candidate=change.candidate,
                beyond_noise=change.error is None or abs(change.change) > NOISE_ERRORS * change.error,
            )
    return Moves(base_values=base_values, candidate_values=candidate_values, by_metric=moves)


def observed_values(run: Run) -> dict[str, float]:
    """The metrics of a run, the numbers in its metadata where it was read from a file, and what follows from both."""
    values = _metadata_numbers(run) | run.metrics
    if "mean_itl_ms" in values and "median_itl_ms" in values:  # time that rare long gaps add to the usual one
        values["itl_stalls_ms"] = values["mean_itl_ms"] - values["median_itl_ms"]
    return values | dict(_mean_requests(values))


def _mean_requests(values: Values) -> Iterator[tuple[str, float]]:
    """The mean numbers of waiting and running requests, by Little's law: rate times time, which misses no peak.

    Where the times are unknown, the means of what was sampled.
    """
    times = {"waiting": ("server_queue_ms",), "running": ("server_prefill_ms", "server_decode_ms")}
    for name, of_name in times.items():
        if values.keys() >= {"request_throughput", *of_name}:
            yield f"requests_{name}", values["request_throughput"] * sum(values[time] for time in of_name) / 1e3
        elif f"server_{name}" in values:
            yield f"requests_{name}", values[f"server_{name}"]


def _metadata_numbers(run: Run) -> dict[str, float]:
    file = run.file(RESULT_FILE)
    try:
        metadata = read_json(file).get("metadata") if file else None
    except ResultError:  # its metrics were read before, so they are still evidence
        return {}
    numbers = metadata.items() if isinstance(metadata, dict) else ()
    return {
        name: float(value)
        for name, value in numbers
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _filled(sides: Sequence[Sequence[float | None]], absent: float | None) -> list[list[float | None]]:
    """The values of both sides, with ``absent`` in a side that has none where the other has some."""
    has_any = [any(value is not None for value in side) for side in sides]
    if absent is None or not any(has_any):
        return [list(side) for side in sides]
    return [[absent if value is None else value for value in side] for side in sides]


def mean_change(base: Sequence[float | None], candidate: Sequence[float | None]) -> MeanChange | None:
    """The change of a mean between two sides; None if any run lacks the value.

    The interval is Student's, with a variance that both sides share.
    """
    left, right = [v for v in base if v is not None], [v for v in candidate if v is not None]
    if not left or not right or len(left) < len(base) or len(right) < len(candidate):
        return None
    means = float(np.mean(left)), float(np.mean(right))
    change = means[1] - means[0]
    degrees = len(left) + len(right) - 2
    if min(len(left), len(right)) < 2:
        return MeanChange(*means, change, None, None, None)
    squares = len(left) * np.var(left) + len(right) * np.var(right)
    error = math.sqrt(squares / degrees * (1 / len(left) + 1 / len(right)))
    reach = error * student_t.quantile(0.5 + INTERVAL / 2, degrees)
    return MeanChange(*means, change, error, change - reach, change + reach)


def _is_worth_mention(move: Move, least: float) -> bool:
    smallest = SMALLEST_FRACTION if move.unit == "fraction" else SMALLEST_RATIO
    return move.beyond_noise and move.size >= smallest and abs(move.candidate - move.base) >= least
