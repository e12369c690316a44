"""Whether a result can be trusted: small rules, each with its threshold in the config, evaluated on every result.

VALID: no rule gave a reason. SUSPECT: the figures were measured, but may be disturbed. INVALID: do not use them.

A rule is a function of ``RunEvidence`` declared with ``@rule`` in a module of this package (``answers``: complete
answers with the requested tokens, ``outputs``: answers that are more than text, ``streams`` and ``buffering``: chunks
that arrive when they are generated, ``client``: sending and reading in time, ``overload`` and ``window``: a steady
state of the server and figures that can be, ``server``: the server's own figures, ``environment_checks``: caches,
restarts, other processes, ``gpu_checks``: the GPUs) or in ``benchhydra_plugins``. It gives no reason if a fact that it
needs is unknown (None). docs/validity.md lists all rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from benchhydra import registry
from benchhydra.errors import ConfigError
from benchhydra.facts import Facts
from benchhydra.records import Records
from benchhydra.registry import knob
from benchhydra.result import Reason, Verdict
from benchhydra.window import Window


@dataclass(kw_only=True)
class ValidityLimits:
    """Thresholds of the verdict's rules (root key ``validity``)."""

    failed_fraction: float = knob(0.01, "INVALID above this fraction of failed requests", unit="fraction")
    short_fraction: float = knob(0.01, "SUSPECT above this fraction of answers shorter than requested", unit="fraction")
    long_fraction: float = knob(0.01, "SUSPECT above this fraction of answers longer than requested", unit="fraction")
    blank_fraction: float = knob(
        0.1,
        "INVALID above this fraction of answers of special tokens or white space only, SUSPECT above a tenth of it",
        unit="fraction",
    )
    retried_fraction: float = knob(0.01, "SUSPECT above this fraction of requests sent again", unit="fraction")
    unread_fraction: float = knob(
        0.5,
        "SUSPECT if the server generates more than this fraction of the tokens that cancelled requests do not wait for",
        unit="fraction",
    )
    correct_fraction: float = knob(
        0.8, "SUSPECT below this fraction of answers that are as dataset.expect says", unit="fraction"
    )
    usage_fraction: float = knob(
        0.01,
        "SUSPECT above this fraction of answers whose token counts contradict each other or the chunks that arrived",
        unit="fraction",
    )
    invalid_output_fraction: float = knob(
        0.02, "SUSPECT above this fraction of answers that are not as api.json_schema, tools, ... ask", unit="fraction"
    )
    one_piece_fraction: float = knob(
        0.5, "SUSPECT above this fraction of streams whose tokens arrived all at once", unit="fraction"
    )
    burst_fraction: float = knob(
        0.5, "SUSPECT above this fraction of streams whose chunks arrived in bursts", unit="fraction"
    )
    prompt_difference: float = knob(
        0.05, "SUSPECT if prompt tokens counted by server and dataset differ by more than this", unit="fraction"
    )
    reached_fraction: float = knob(0.95, "INVALID below this fraction of the offered rate", unit="fraction")
    lag_ms: float = knob(5.0, "INVALID if the p99 of the client's own lateness exceeds this", unit="ms")
    lag_fraction: float = knob(
        0.1, "... and this fraction of the mean gap between requests and of the median TTFT", unit="fraction"
    )
    client_cpu_fraction: float = knob(
        0.9, "INVALID above this fraction of a core used by one client process", unit="fraction"
    )
    client_wait_fraction: float = knob(
        0.2,
        "INVALID if the client waits for the CPU for more than this fraction of the time it needs it",
        unit="fraction",
    )
    client_wait_fraction_of_server: float = knob(
        0.6, "the same limit if only the client and the server of this run use the cores", unit="fraction"
    )
    client_wait_ms: float = knob(0.2, "... and its mean wait exceeds this", unit="ms")
    client_wait_latency_fraction: float = knob(0.01, "... and this fraction of the median TTFT", unit="fraction")
    stall_ms: float = knob(5.0, "INVALID if the p99 of event loop stalls exceeds this", unit="ms")
    stall_fraction: float = knob(0.1, "... and this fraction of the median TTFT", unit="fraction")
    clock_ms: float = knob(1.0, "SUSPECT if the clocks of other client machines are less certain than this", unit="ms")
    least_completed: int = knob(10, "SUSPECT with fewer completed requests", unit="requests")
    rise_fraction: float = knob(
        0.5, "SUSPECT if latency rises by more than this fraction of its median over the window", unit="fraction"
    )
    slow_start_ratio: float = knob(4.0, "SUSPECT if the first requests take this many times the median of the rest")
    prefix_hit_fraction: float = knob(
        0.05,
        "SUSPECT above this fraction of prompt tokens found in the prefix cache, unless the dataset intends hits",
        unit="fraction",
    )
    preempted_fraction: float = knob(0.01, "SUSPECT above this many preemptions per request", unit="fraction")
    kv_cache_full_fraction: float = knob(
        0.1,
        "SUSPECT if requests waited for room in the KV cache for more than this part of the window",
        unit="fraction",
    )
    acceptance_change: float = knob(
        0.1, "SUSPECT if the acceptance rate of speculative decoding moved by more than this", unit="fraction"
    )
    witness_ms: float = knob(
        5.0,
        "SUSPECT if the client's mean TTFT or E2E latency exceeds the server's by more than this and what the path "
        "explains",
        unit="ms",
    )
    witness_fraction: float = knob(0.1, "... and more than this fraction of the client's figure", unit="fraction")
    other_cpu_fraction: float = knob(
        0.1, "SUSPECT if other processes use more than this fraction of the cores of this run", unit="fraction"
    )
    swap_mib_per_s: float = knob(1.0, "SUSPECT if the machine swaps more than this", unit="MiB/s")
    throttled_fraction: float = knob(
        0.05,
        "SUSPECT if heat, a hardware slowdown or the power brake lowers a GPU's clocks in more than this fraction of "
        "the window",
        unit="fraction",
    )
    other_gpu_memory_mib: float = knob(
        1024.0, "SUSPECT if more memory of a GPU than this belongs to no process of this run", unit="MiB"
    )


@dataclass(frozen=True, kw_only=True)
class RunEvidence:
    """The input of a rule. window: the measured rows, with derived columns; limits: the thresholds."""

    window: Window
    limits: ValidityLimits

    @property
    def every(self) -> Records:
        """All rows, including warm-up and cool-down."""
        return self.window.every

    @property
    def facts(self) -> Facts:
        """The facts of the run; an unknown fact is None."""
        return self.window.facts


Rule = Callable[[RunEvidence], Iterable[Reason]]
_rules: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    """Declare a rule of the verdict. Its reasons have ``name`` as ``check``. Raises ConfigError for a duplicate."""

    def declare(rule: Rule) -> Rule:
        if name in _rules and _rules[name].__module__ != rule.__module__:
            raise ConfigError(f"two rules are called {name}")
        _rules[name] = rule
        return rule

    return declare


def rules() -> dict[str, Rule]:
    """Return all rules by name, in a fixed order: module by module, the user's plugins last."""
    _discover()
    return dict(sorted(_rules.items(), key=lambda declared: declared[1].__module__))


def judge(window: Window, limits: ValidityLimits) -> tuple[Verdict, tuple[Reason, ...]]:
    """Evaluate every rule. Returns the worst severity as verdict, and the reasons, the worst first."""
    evidence = RunEvidence(window=window, limits=limits)
    reasons = [reason for rule in rules().values() for reason in rule(evidence)]
    order = list(Verdict)
    reasons.sort(key=lambda reason: -order.index(reason.severity))
    return (reasons[0].severity if reasons else Verdict.VALID), tuple(reasons)


def invalid(check: str, text: str) -> Reason:
    """Return a reason not to use a result."""
    return Reason(check=check, severity=Verdict.INVALID, text=text)


def suspect(check: str, text: str) -> Reason:
    """Return a reason to doubt a result."""
    return Reason(check=check, severity=Verdict.SUSPECT, text=text)


def as_percent(fraction: float, digits: int = 0) -> str:
    """Return a fraction as percent: ``0.41`` -> ``41 %``."""
    return f"{fraction * 100:.{digits}f} %"


@cache
def _discover() -> None:
    registry.import_modules(__name__)
    registry.import_plugins()
