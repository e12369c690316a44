"""What made a probe INVALID: the server's limit, which is what a search looks for, or the load generator.

A search for a limit must never take the client's fault for the server's: a starved client measures its own delay, and
the server looks slow. The names are those of the verdict's rules; a test compares them with ``validity/client.py``.
"""

from __future__ import annotations

from benchhydra.points import Outcome

#: Rules that say that the server did not keep up with the load.
LIMIT_CHECKS = frozenset(
    {"overloaded", "sessions_overloaded", "stationary", "failed_fraction", "broken_sessions", "completed"}
)
#: Rules that say that the load generator did not do its work.
CLIENT_CHECKS = frozenset(
    {"rate", "client_lag", "loop_stall", "client_cpu", "client_wait", "client_limits", "lost_processes"}
)


def has_client_fault(outcome: Outcome) -> bool:
    """Whether the load generator made the result INVALID, whatever else did: its figures say nothing."""
    return not CLIENT_CHECKS.isdisjoint(outcome.invalid_checks)


def is_beyond_limit(outcome: Outcome) -> bool:
    """Whether the result is INVALID because the server did not keep up, and for no other reason."""
    return bool(outcome.invalid_checks) and LIMIT_CHECKS.issuperset(outcome.invalid_checks)
