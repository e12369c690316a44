"""May a result be believed? One small rule each, with its threshold in the config, evaluated on every result.

VALID: no rule objects. SUSPECT: figures are real, but something disturbed them. INVALID: they must not be used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from benchhydra.records import Records
from benchhydra.registry import knob


class Verdict(StrEnum):
    """Whether a result may be believed; ordered by severity."""

    VALID = "VALID"
    SUSPECT = "SUSPECT"
    INVALID = "INVALID"


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a result is not VALID: the rule, how bad, and a sentence with the figure and its limit."""

    check: str
    severity: Verdict
    text: str


@dataclass(kw_only=True)
class Limits:
    """Thresholds of the verdict's rules (root key ``validity``)."""

    failed_share: float = knob(0.01, "INVALID above this share of failed requests", unit="fraction")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known about a run beside its rows; None is unknown. Rules must say nothing about what is unknown."""

    script: str
    offered_rps: float | None = None  # of the schedule; None for closed loops and rate = inf
    ignore_eos: bool = True
    interrupted: bool = False
    client_cpu_share: float | None = None  # CPU seconds a wall second of the busiest client process, in the window
    loop_stall_p99_ms: float | None = None  # lateness of a periodic timer in the client's event loop
    loop_stall_max_ms: float | None = None
    calibrated_rps: float | None = None  # highest rate at which this machine's own TTFT error stayed under 1 ms
    other_cpu_share: float | None = None  # of the machine, used by processes that are neither ours nor the server's
    other_gpu_pids: tuple[int, ...] = ()
    prefix_cache_queries: float | None = None  # tokens asked of and found in the server's prefix cache, in the window
    prefix_cache_hits: float | None = None
    prefix_cache_intended: bool = False
    cache_reset: bool | None = None  # proven before the point; None where there was nothing to reset
    preemptions: float | None = None  # by the server's scheduler, in the window
    server_restarted: bool = False
    notes: tuple[str, ...] = field(default=())  # sentences that go into the result as warnings


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a rule may look at."""

    rows: Records  # the measured rows
    every: Records  # all rows, with warm-up and cool-down
    facts: Facts
    limits: Limits


Rule = Callable[[Evidence], Iterable[Reason]]
_rules: dict[str, Rule] = {}


def check(name: str) -> Callable[[Rule], Rule]:
    """Declare a rule of the verdict."""

    def declare(rule: Rule) -> Rule:
        _rules[name] = rule
        return rule

    return declare


def rules() -> dict[str, Rule]:
    """All rules by name."""
    return dict(_rules)


def judge(records: Records, facts: Facts, limits: Limits) -> tuple[Verdict, tuple[Reason, ...]]:
    """Evaluate every rule. The verdict is the worst severity; the worst reasons come first."""
    evidence = Evidence(rows=records.measured(), every=records, facts=facts, limits=limits)
    reasons = [reason for rule in _rules.values() for reason in rule(evidence)]
    order = list(Verdict)
    reasons.sort(key=lambda reason: -order.index(reason.severity))
    return (reasons[0].severity if reasons else Verdict.VALID), tuple(reasons)
