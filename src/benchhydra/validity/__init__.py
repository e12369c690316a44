"""May a result be believed? One small rule each, with its threshold in the config, evaluated on every result.

VALID: no rule objects. SUSPECT: figures are real, but something disturbed them. INVALID: they must not be used.
The rules: ``answers`` (what came back), ``client`` (did we send and read in time), ``window`` (was it one state that
was measured), ``surroundings`` (the server's caches, restarts and neighbours).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from benchhydra.records import Records
from benchhydra.registry import knob
from benchhydra.result import Reason, Verdict


@dataclass(kw_only=True)
class ValidityLimits:
    """Thresholds of the verdict's rules (root key ``validity``)."""

    failed_share: float = knob(0.01, "INVALID above this share of failed requests", unit="fraction")
    short_share: float = knob(0.01, "SUSPECT above this share of answers shorter than asked", unit="fraction")
    one_piece_share: float = knob(
        0.5, "SUSPECT above this share of streams whose tokens came all at once", unit="fraction"
    )
    prompt_difference: float = knob(
        0.05, "SUSPECT where the server counts this much more or fewer prompt tokens than the dataset", unit="fraction"
    )
    reached_share: float = knob(0.95, "INVALID below this share of the offered rate", unit="fraction")
    lag_ms: float = knob(5.0, "least p99 of the client's own lateness that is INVALID", unit="ms")
    lag_share: float = knob(
        0.1, "and it must exceed this share of the mean gap, and of the median TTFT", unit="fraction"
    )
    client_cpu_share: float = knob(
        0.9, "INVALID above this share of a core used by one client process", unit="fraction"
    )
    client_wait_share: float = knob(
        0.2,
        "INVALID where the client waits for a core longer than this share of the time it wants one",
        unit="fraction",
    )
    client_wait_share_of_server: float = knob(
        0.6, "the same where nobody but the server that was started for it is known to use its cores", unit="fraction"
    )
    stall_ms: float = knob(5.0, "least p99 of event loop stalls that is INVALID", unit="ms")
    stall_share: float = knob(0.1, "and it must exceed this share of the median TTFT", unit="fraction")
    clock_ms: float = knob(1.0, "SUSPECT above this uncertainty of the clocks of other machines that sent", unit="ms")
    least_completed: int = knob(10, "SUSPECT with fewer completed requests", unit="requests")
    rise_share: float = knob(
        0.5, "SUSPECT where latency keeps rising by this share of its median over the window", unit="fraction"
    )
    slow_start_ratio: float = knob(4.0, "SUSPECT where the first requests take this many times the median of the rest")
    prefix_hit_share: float = knob(
        0.05,
        "SUSPECT above this share of prompt tokens found in the prefix cache, where none should be",
        unit="fraction",
    )
    preempted_share: float = knob(0.01, "SUSPECT above this many preemptions a request", unit="fraction")
    other_cpu_share: float = knob(0.1, "SUSPECT above this share of our cores used by other processes", unit="fraction")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known about a run beside its rows; None is unknown. Rules must say nothing about what is unknown."""

    script: str
    offered_rps: float | None = None  # of the schedule; None for closed loops and rate = inf
    stationary: bool = False  # an open loop whose rate is meant to stay the same
    max_in_flight: int | None = None
    ignore_eos: bool = True
    interrupted: bool = False
    lost_processes: tuple[str, ...] = ()  # what became of client processes that brought no rows
    clock_uncertainty_ms: float | None = None  # of the worst known clock of several machines that sent
    client_lag_p99_ms: float | None = None  # lateness of the client's own: waiting for max_in_flight is not in it
    client_wait_share: float | None = None  # of the time that the client wanted a core, what it waited for one
    client_cpu_share: float | None = None  # CPU seconds a wall second of the busiest client process, less idle turns
    loop_stall_p99_ms: float | None = None  # lateness of a periodic timer in the client's event loop
    loop_stall_max_ms: float | None = None
    calibrated_rps: float | None = None  # highest rate at which this machine's own TTFT error stayed under 1 ms
    other_cpu_share: float | None = (
        None  # of the cores that we may use, used by processes that are neither ours nor the server's
    )
    other_gpu_pids: tuple[int, ...] = ()
    prefix_cache_queries: float | None = None  # tokens asked of and found in the server's prefix cache, in the window
    prefix_cache_hits: float | None = None
    prefix_cache_intended: bool = False
    cache_reset: bool | None = None  # proven before the point; None where there was nothing to reset
    preemptions: float | None = None  # by the server's scheduler, in the window
    server_restarted: bool = False
    notes: tuple[str, ...] = field(default=())  # sentences that go into the result as warnings


@dataclass(frozen=True, kw_only=True)
class RunEvidence:
    """What a rule may look at."""

    rows: Records  # the measured rows
    every: Records  # all rows, with warm-up and cool-down
    facts: Facts
    limits: ValidityLimits


Rule = Callable[[RunEvidence], Iterable[Reason]]
_rules: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    """Declare a rule of the verdict."""

    def declare(rule: Rule) -> Rule:
        _rules[name] = rule
        return rule

    return declare


def rules() -> dict[str, Rule]:
    """All rules by name."""
    return dict(_rules)


def judge(records: Records, facts: Facts, limits: ValidityLimits) -> tuple[Verdict, tuple[Reason, ...]]:
    """Evaluate every rule. The verdict is the worst severity; the worst reasons come first."""
    evidence = RunEvidence(rows=records.measured(), every=records, facts=facts, limits=limits)
    reasons = [reason for rule in _rules.values() for reason in rule(evidence)]
    order = list(Verdict)
    reasons.sort(key=lambda reason: -order.index(reason.severity))
    return (reasons[0].severity if reasons else Verdict.VALID), tuple(reasons)


from benchhydra.validity import answers, client, environment_checks, window  # noqa: E402, F401 - they declare their rules above
