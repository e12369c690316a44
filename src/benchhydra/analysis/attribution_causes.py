"""Causes that may explain why a latency rose, each with the evidence that it needs: one declaration a cause.

A cause acts on some parts of a request's time (queue, prefill, ...), and has a strength between 0 and 1: how much of
the slowdown in these parts its evidence can account for, 0 without evidence. Causes are ranked by strength times the
part of the change that lies in their parts; equals keep the order of this file, root causes before their effects.
All evidence is seen from the fast side to the slow one, whichever of them is the candidate: ``Slowdown.moves.base`` is
the fast side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchhydra.analysis.attribution_evidence import Moves

#: A cause that accounts for less than this fraction of a change is not named.
LEAST_FRACTION = 0.1
#: A relative rise of the work below this is no evidence.
LEAST_RATIO = 0.02
#: Queues grow faster than the work in them: a change of the work of 1 % may account for up to 3 % of a latency.
LEVERAGE = 3.0
SERVER = ("queue", "prefill", "decode", "frontend")
EVERYWHERE = (*SERVER, "outside")
#: A KV cache that was seen filled up to these fractions is surely not, and surely, full: samples miss its maximum.
FULL_FRACTION = (0.75, 0.9)
#: Up to this ratio of their mean numbers, no more requests run than before.
MORE_RUNNING = 1.05
#: What the parts of the server add up to where only the client's times are known.
CLIENT_PARTS = {"first token": {"queue", "prefill", "frontend", "outside"}, "other tokens": {"decode", "outside"}}


@dataclass(frozen=True, kw_only=True)
class Slowdown:
    """What a cause is judged by: what moved, the latency's relative rise (ratio), and the rise of each part in ms.

    increases: by part, above 0 where the slow side is slower.
    """

    moves: Moves
    ratio: float
    increases: Mapping[str, float]

    def rise(self, metric: str, least: float, full: float) -> float:
        """0 where a figure rose by ``least`` or less, 1 from ``full`` on, linear between."""
        return ramp(self.moves.rise(metric), least, full)

    def proportional(self, work_ratio: float) -> float:
        """How much of the slowdown a relative rise of the work can account for."""
        return ramp(LEVERAGE * work_ratio, 0.0, self.ratio) if work_ratio > LEAST_RATIO else 0.0


def ramp(value: float, least: float, full: float) -> float:
    """0 up to ``least``, 1 from ``full`` on, linear between."""
    return min(1.0, max(0.0, (value - least) / (full - least))) if full > least else float(value > least)


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A cause. worse, better: its words where the candidate has it, and where the base does. metrics: its evidence."""

    name: str
    worse: str
    better: str
    parts: tuple[str, ...]
    metrics: tuple[str, ...]
    strength: Callable[[Slowdown], float]


@dataclass(frozen=True, kw_only=True)
class LikelyCause:
    """A cause with evidence. fraction: the part of the change that it can account for; change_ms: the same in ms."""

    cause: Cause
    fraction: float
    change_ms: float

    @property
    def text(self) -> str:
        """Its words for the direction of the change."""
        return self.cause.worse if self.change_ms > 0 else self.cause.better


def likely_causes(slowdown: Slowdown, change_ms: float) -> tuple[LikelyCause, ...]:
    """The causes of a change with evidence, the one that accounts for most of it first."""
    likely = []
    for cause in CAUSES:
        fraction = cause.strength(slowdown) * _fraction_in(cause.parts, slowdown.increases)
        if fraction >= LEAST_FRACTION:
            likely.append(LikelyCause(cause=cause, fraction=fraction, change_ms=fraction * change_ms))
    return tuple(sorted(likely, key=lambda each: -each.fraction))


def _fraction_in(parts: tuple[str, ...], increases: Mapping[str, float]) -> float:
    """The fraction of all increases that lies in these parts; 1 where no parts are known."""
    rising = {name: value for name, value in increases.items() if value > 0}
    if not rising:
        return 1.0
    inside = sum(value for name, value in rising.items() if CLIENT_PARTS.get(name, {name}) & {*parts})
    return inside / sum(rising.values())


def _longer_prompts(slowdown: Slowdown) -> float:
    return slowdown.proportional(slowdown.moves.relative_rise("mean_input_tokens"))


def _longer_answers(slowdown: Slowdown) -> float:
    return slowdown.proportional(slowdown.moves.relative_rise("mean_output_tokens"))


def _higher_rate(slowdown: Slowdown) -> float:
    return slowdown.proportional(slowdown.moves.relative_rise("achieved_rps"))


def _speculation_off(slowdown: Slowdown) -> float:
    fast, slow = (side("server_accepted_length") for side in (slowdown.moves.base, slowdown.moves.candidate))
    return _fewer_tokens_a_step(slowdown) if fast and slow == 1.0 else 0.0


def _acceptance_fell(slowdown: Slowdown) -> float:
    slow = slowdown.moves.candidate("server_accepted_length")
    return _fewer_tokens_a_step(slowdown) if slow != 1.0 else 0.0


def _fewer_tokens_a_step(slowdown: Slowdown) -> float:
    fast, slow = (side("server_accepted_length") for side in (slowdown.moves.base, slowdown.moves.candidate))
    if not fast or not slow or not slowdown.moves.rise("server_accepted_length"):
        return 0.0
    return slowdown.proportional(fast / slow - 1)


def _prefix_hits_fell(slowdown: Slowdown) -> float:
    fast, slow = (side("server_prefix_hit_fraction") for side in (slowdown.moves.base, slowdown.moves.candidate))
    if fast is None or slow is None or fast - slow < 0.03 or not slowdown.moves.rise("server_prefix_hit_fraction"):
        return 0.0
    return slowdown.proportional((1 - slow) / max(1 - fast, 0.01) - 1)


def _server_lacks_cpu(slowdown: Slowdown) -> float:
    """Its waits, as the kernel counts them. Without these the CPU time of others, which may be that of idle cores.

    A server that waits for a core takes longer itself: a change that is all outside of it has another cause.
    """
    if slowdown.moves.candidate("server_cpu_wait_fraction") is not None:
        waits = max(slowdown.rise("server_cpu_wait_fraction", 0.05, 0.25), _longer_by_waits(slowdown))
    else:
        waits = 0.5 * slowdown.rise("other_cpu_fraction", 0.1, 0.4)
    return waits * ramp(_fraction_in(SERVER, slowdown.increases), 0.0, 1 / 3)


def _longer_by_waits(slowdown: Slowdown) -> float:
    """Work that waits for a core for a fraction w of its time takes 1 / (1 - w) times as long."""
    fast, slow = (side("server_cpu_wait_fraction") for side in (slowdown.moves.base, slowdown.moves.candidate))
    if fast is None or slow is None or not slowdown.moves.rise("server_cpu_wait_fraction"):
        return 0.0
    return slowdown.proportional((1 - min(fast, 0.99)) / (1 - min(slow, 0.99)) - 1)


def _gpu_throttled(slowdown: Slowdown) -> float:
    return slowdown.rise("gpu_throttled_fraction", 0.02, 0.2)


def _clocks_fell(slowdown: Slowdown) -> float:
    fast, slow = (side("mean_gpu_sm_clock_mhz") for side in (slowdown.moves.base, slowdown.moves.candidate))
    if not fast or not slow or not slowdown.moves.rise("mean_gpu_sm_clock_mhz"):
        return 0.0
    return slowdown.proportional(fast / slow - 1)


def _kv_cache_full(slowdown: Slowdown) -> float:
    """Preemptions, or a cache that is nearly full: then the next prompt finds no room."""
    usage = slowdown.moves.candidate("server_max_kv_cache_usage") or 0.0
    filled = ramp(usage, *FULL_FRACTION) * slowdown.rise("server_max_kv_cache_usage", 0.02, 0.1)
    return max(filled, slowdown.rise("server_preemptions_per_minute", 0.5, 5))


def _limited_at_once(slowdown: Slowdown) -> float:
    """More requests wait and no more run, though the KV cache has room: the number of running requests is limited."""
    fast, slow = slowdown.moves.base("requests_running"), slowdown.moves.candidate("requests_running")
    if fast is None or slow is None or slow > MORE_RUNNING * fast:
        return 0.0
    return slowdown.rise("requests_waiting", 0.1, 0.5) * (1 - _kv_cache_full(slowdown))


def _prefills_stall_decoding(slowdown: Slowdown) -> float:
    """Rare long gaps between tokens account for a larger mean gap; the usual gap is as before."""
    gap_ms, stalls_ms = slowdown.moves.rise("mean_itl_ms"), slowdown.moves.rise("itl_stalls_ms")
    if gap_ms <= 0:
        return 0.0
    return 0.95 * ramp(stalls_ms / gap_ms, 0.1, 0.7) * ramp(slowdown.moves.relative_rise("mean_itl_ms"), 0.02, 0.1)


def _larger_batches(slowdown: Slowdown) -> float:
    """More requests run at once and no more wait: each step takes longer."""
    if slowdown.moves.rise("requests_waiting") > 0:
        return 0.0
    return 0.6 * slowdown.rise("requests_running", 1.0, 4.0)


def _client_slow(slowdown: Slowdown) -> float:
    """Its waits for a core, its use of one, and how late its loop is, against the time outside the server."""
    waits = slowdown.rise("client_wait_fraction", 0.1, 0.4)
    busy = slowdown.rise("mean_client_cpu_fraction", 0.2, 0.5)
    return max(waits, 0.5 * busy, _of_time_outside(slowdown, "mean_client_loop_lag_ms"))


def _network_slow(slowdown: Slowdown) -> float:
    """A small request on the same way takes longer too, and that is not because the server waits for a core."""
    return _of_time_outside(slowdown, "server_answer_ms") * (1 - _server_lacks_cpu(slowdown))


def _of_time_outside(slowdown: Slowdown, metric: str) -> float:
    """1 where a time rose by most of what the time outside the server did, 0 where by less than a tenth of it."""
    outside_ms = slowdown.increases.get("outside", 0.0)
    return ramp(slowdown.moves.rise(metric) / outside_ms, 0.1, 0.6) if outside_ms > 0 else 0.0


CAUSES = (
    Cause(
        name="longer_prompts",
        worse="the prompts are longer",
        better="the prompts are shorter",
        parts=SERVER,
        metrics=("mean_input_tokens",),
        strength=_longer_prompts,
    ),
    Cause(
        name="longer_answers",
        worse="the answers are longer",
        better="the answers are shorter",
        parts=("decode", "queue"),
        metrics=("mean_output_tokens",),
        strength=_longer_answers,
    ),
    Cause(
        name="higher_rate",
        worse="more requests arrive per second",
        better="fewer requests arrive per second",
        parts=SERVER,
        metrics=("achieved_rps", "requests_running"),
        strength=_higher_rate,
    ),
    Cause(
        name="server_lacks_cpu",
        worse="the server waits for CPU cores that other programs use",
        better="the server no longer waits for CPU cores",
        parts=EVERYWHERE,  # its event loop reads and sends late, which is outside of its own times
        metrics=("server_cpu_wait_fraction", "other_cpu_fraction"),
        strength=_server_lacks_cpu,
    ),
    Cause(
        name="gpu_throttled",
        worse="the GPUs are throttled",
        better="the GPUs are no longer throttled",
        parts=SERVER,
        metrics=("gpu_throttled_fraction", "mean_gpu_sm_clock_mhz", "max_gpu_temperature_c"),
        strength=_gpu_throttled,
    ),
    Cause(
        name="gpu_clocks_fell",
        worse="the GPUs run at a lower clock",
        better="the GPUs run at a higher clock",
        parts=SERVER,
        metrics=("mean_gpu_sm_clock_mhz", "mean_gpu_power_w", "gpu_power_capped_fraction"),
        strength=_clocks_fell,
    ),
    Cause(
        name="kv_cache_full",
        worse="the KV cache is full",
        better="the KV cache is no longer full",
        parts=("queue", "prefill", "decode"),
        metrics=("server_max_kv_cache_usage", "server_preemptions_per_minute", "requests_waiting"),
        strength=_kv_cache_full,
    ),
    Cause(
        name="speculation_off",
        worse="speculative decoding is off",
        better="speculative decoding is on",
        parts=("decode", "queue"),
        metrics=("server_accepted_length", "server_acceptance_fraction"),
        strength=_speculation_off,
    ),
    Cause(
        name="acceptance_fell",
        worse="fewer drafted tokens are accepted",
        better="more drafted tokens are accepted",
        parts=("decode", "queue"),
        metrics=("server_acceptance_fraction", "server_accepted_length"),
        strength=_acceptance_fell,
    ),
    Cause(
        name="prefix_hits_fell",
        worse="fewer prompt tokens are in the prefix cache",
        better="more prompt tokens are in the prefix cache",
        parts=("prefill", "queue", "decode"),
        metrics=("server_prefix_hit_fraction",),
        strength=_prefix_hits_fell,
    ),
    Cause(
        name="limited_at_once",
        worse="more requests wait and no more run, with room in the KV cache (a limit such as max_num_seqs)",
        better="fewer requests wait and no fewer run (a limit such as max_num_seqs)",
        parts=("queue",),
        metrics=("requests_waiting", "requests_running"),
        strength=_limited_at_once,
    ),
    Cause(
        name="prefills_stall_decoding",
        worse="some steps take far longer than most, as with whole prompts in one step (chunked prefill off)",
        better="fewer steps take far longer than most, as with chunked prefill",
        parts=("decode",),
        metrics=("itl_stalls_ms", "p99_itl_ms", "server_step_tokens"),
        strength=_prefills_stall_decoding,
    ),
    Cause(
        name="larger_batches",
        worse="more requests run at once, so that each step takes longer",
        better="fewer requests run at once, so that each step takes less long",
        parts=("decode", "prefill"),
        metrics=("requests_running", "requests_waiting"),
        strength=_larger_batches,
    ),
    Cause(
        name="client_slow",
        worse="the client is slow: it sends and reads late",
        better="the client is no longer slow",
        parts=("outside",),
        metrics=("client_wait_fraction", "mean_client_loop_lag_ms", "mean_client_cpu_fraction"),
        strength=_client_slow,
    ),
    Cause(
        name="network_slow",
        worse="the way between client and server takes longer (network, proxy)",
        better="the way between client and server takes less long (network, proxy)",
        parts=("outside",),
        metrics=("server_answer_ms",),
        strength=_network_slow,
    ),
)
