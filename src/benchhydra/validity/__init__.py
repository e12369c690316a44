"""Whether a result may be believed: small rules, each with its threshold in the config, evaluated on every result.

VALID: no rule objects. SUSPECT: the figures are real, but something disturbed them. INVALID: they must not be used.

A rule is a function of ``RunEvidence`` declared with ``@rule`` in a module of this package (``answers``: what came
back, ``client``: whether it sent and read in time, ``window``: whether one state of the server was measured,
``environment_checks``: caches, restarts, other processes) or in ``benchhydra_plugins``. It says nothing where a fact
that it reads is unknown (None).
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
    short_fraction: float = knob(0.01, "SUSPECT above this fraction of answers shorter than asked", unit="fraction")
    one_piece_fraction: float = knob(
        0.5, "SUSPECT above this fraction of streams whose tokens came all at once", unit="fraction"
    )
    prompt_difference: float = knob(
        0.05, "SUSPECT where the server counts this much more or fewer prompt tokens than the dataset", unit="fraction"
    )
    reached_fraction: float = knob(0.95, "INVALID below this fraction of the offered rate", unit="fraction")
    lag_ms: float = knob(5.0, "least p99 of the client's own lateness that is INVALID", unit="ms")
    lag_fraction: float = knob(
        0.1, "and it must exceed this fraction of the mean gap, and of the median TTFT", unit="fraction"
    )
    client_cpu_fraction: float = knob(
        0.9, "INVALID above this fraction of a core used by one client process", unit="fraction"
    )
    client_wait_fraction: float = knob(
        0.2,
        "INVALID where the client waits for the CPU longer than this fraction of the time it needs it",
        unit="fraction",
    )
    client_wait_fraction_of_server: float = knob(
        0.6, "the same where only the server that was started for it is known to use its cores", unit="fraction"
    )
    stall_ms: float = knob(5.0, "least p99 of event loop stalls that is INVALID", unit="ms")
    stall_fraction: float = knob(0.1, "and it must exceed this fraction of the median TTFT", unit="fraction")
    clock_ms: float = knob(1.0, "SUSPECT above this uncertainty of the clocks of other machines that sent", unit="ms")
    least_completed: int = knob(10, "SUSPECT with fewer completed requests", unit="requests")
    rise_fraction: float = knob(
        0.5, "SUSPECT where latency keeps rising by this fraction of its median over the window", unit="fraction"
    )
    slow_start_ratio: float = knob(4.0, "SUSPECT where the first requests take this many times the median of the rest")
    prefix_hit_fraction: float = knob(
        0.05,
        "SUSPECT above this fraction of prompt tokens found in the prefix cache, where none should be",
        unit="fraction",
    )
    preempted_fraction: float = knob(0.01, "SUSPECT above this many preemptions per request", unit="fraction")
    other_cpu_fraction: float = knob(
        0.1, "SUSPECT above this fraction of our cores used by other processes", unit="fraction"
    )


@dataclass(frozen=True, kw_only=True)
class RunEvidence:
    """What a rule may look at. window: the measured rows, with their derived columns; limits: the thresholds."""

    window: Window
    limits: ValidityLimits

    @property
    def every(self) -> Records:
        """All rows, with warm-up and cool-down."""
        return self.window.every

    @property
    def facts(self) -> Facts:
        """What is known of the run beside its rows; None: unknown."""
        return self.window.facts


Rule = Callable[[RunEvidence], Iterable[Reason]]
_rules: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    """Declare a rule of the verdict. ``name`` is what its reasons say as ``check``."""

    def declare(rule: Rule) -> Rule:
        if name in _rules and _rules[name].__module__ != rule.__module__:
            raise ConfigError(f"two rules are called {name}")
        _rules[name] = rule
        return rule

    return declare


def rules() -> dict[str, Rule]:
    """All rules by name, module after module; those of the user's plugins last. The order is always the same."""
    _discover()
    return dict(sorted(_rules.items(), key=lambda declared: declared[1].__module__))


def judge(window: Window, limits: ValidityLimits) -> tuple[Verdict, tuple[Reason, ...]]:
    """Evaluate every rule. The verdict is the worst severity; the worst reasons come first."""
    evidence = RunEvidence(window=window, limits=limits)
    reasons = [reason for rule in rules().values() for reason in rule(evidence)]
    order = list(Verdict)
    reasons.sort(key=lambda reason: -order.index(reason.severity))
    return (reasons[0].severity if reasons else Verdict.VALID), tuple(reasons)


def invalid(check: str, text: str) -> Reason:
    """A reason not to use a result."""
    return Reason(check=check, severity=Verdict.INVALID, text=text)


def suspect(check: str, text: str) -> Reason:
    """A reason to doubt a result."""
    return Reason(check=check, severity=Verdict.SUSPECT, text=text)


def percent(fraction: float, digits: int = 0) -> str:
    """``0.41`` -> ``41 %``."""
    return f"{fraction * 100:.{digits}f} %"


@cache
def _discover() -> None:
    registry.import_modules(__name__)
    registry.import_plugins()
