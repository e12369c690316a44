"""Rules on the client: did it send when it should, and could it read in time?

A lateness counts only where it can be seen in the figures: against the gaps between requests (the load's shape) and
against the latencies measured. A slow server with seconds of TTFT forgives what a fast one does not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchhydra.records import Records
from benchhydra.result import Reason, Verdict
from benchhydra.validity import RunEvidence, rule


@rule("rate")
def rate(evidence: RunEvidence) -> Iterator[Reason]:
    """The requests of the window must have been sent as fast as they were scheduled."""
    rows = evidence.rows.where((evidence.rows.sent_ns >= 0) & (evidence.rows.scheduled_ns >= 0))
    limits, held = evidence.limits, evidence.facts.max_in_flight
    if evidence.facts.offered_rps is None or len(rows) < 2:
        return
    planned_s, took_s = (float(np.ptp(times)) / 1e9 for times in (rows.scheduled_ns, rows.sent_ns))
    if planned_s <= 0 or took_s - planned_s < limits.lag_ms / 1e3:
        return
    offered, sent = ((len(rows) - 1) / seconds for seconds in (planned_s, took_s))
    if sent / offered < limits.reached_share:
        why = "the client did not keep up" if held is None else f"max_in_flight={held} held requests back"
        share = f"{sent / offered:.0%}, limit {limits.reached_share:.0%}"
        yield _invalid("rate", f"{sent:.4g} requests/s were sent of {offered:.4g} offered ({share}): {why}")


@rule("client_lag")
def client_lag(evidence: RunEvidence) -> Iterator[Reason]:
    """Requests sent late arrive in clumps that the load shape does not have."""
    lag_ms, limits = evidence.facts.client_lag_p99_ms, evidence.limits
    if lag_ms is None or evidence.facts.offered_rps is None:
        return
    gap_ms = 1e3 / evidence.facts.offered_rps
    limit = max(limits.lag_ms, limits.lag_share * gap_ms, limits.lag_share * (latency_ms(evidence.rows) or 0.0))
    if lag_ms > limit:
        text = f"the client sent late: p99 of its own lateness is {lag_ms:.1f} ms (limit {limit:.1f} ms"
        yield _invalid("client_lag", f"{text}, with {gap_ms:.1f} ms between requests)")


@rule("loop_stall")
def loop_stall(evidence: RunEvidence) -> Iterator[Reason]:
    """While the event loop stalls, answers wait unread: their times are too late."""
    stall_ms, limits = evidence.facts.loop_stall_p99_ms, evidence.limits
    latency = latency_ms(evidence.rows)
    if stall_ms is None or latency is None:
        return
    limit = max(limits.stall_ms, limits.stall_share * latency)
    if stall_ms > limit:
        text = f"the client's event loop stalled: p99 {stall_ms:.1f} ms (limit {limit:.1f} ms"
        yield _invalid("loop_stall", f"{text}, at a median latency of {latency:.1f} ms)")


@rule("client_cpu")
def client_cpu(evidence: RunEvidence) -> Iterator[Reason]:
    """A client without idle time measures itself."""
    share, limit = evidence.facts.client_cpu_share, evidence.limits.client_cpu_share
    if share is not None and share > limit:
        text = f"the client was saturated: {share:.0%} of a core used (limit {limit:.0%})"
        yield _invalid("client_cpu", f"{text}; load.processes=N spreads it")


@rule("client_wait")
def client_wait(evidence: RunEvidence) -> Iterator[Reason]:
    """A client that shares its core with a busy process reads and sends when that one lets it.

    Where that is the server itself, on a machine of few cores, more of it is borne.
    """
    share, others, limits = evidence.facts.client_wait_share, evidence.facts.other_cpu_share, evidence.limits
    alone = others is not None and others <= limits.other_cpu_share
    limit = limits.client_wait_share_of_server if alone else limits.client_wait_share
    if share is not None and share > limit:
        text = f"the client waited for a core {share:.0%} of the time it wanted one (limit {limit:.0%})"
        yield _invalid("client_wait", f"{text}: its core is shared with {'its server' if alone else 'busy processes'}")


@rule("lost_processes")
def lost_processes(evidence: RunEvidence) -> Iterator[Reason]:
    """A client process that died took its part of the load with it."""
    lost = evidence.facts.lost_processes
    if lost:
        yield _invalid("lost_processes", f"{len(lost)} client processes brought no rows: {lost[0]}")


@rule("client_clocks")
def client_clocks(evidence: RunEvidence) -> Iterator[Reason]:
    """Machines send in the schedule's order only as far as their clocks are known."""
    known_to_ms, limit = evidence.facts.clock_uncertainty_ms, evidence.limits.clock_ms
    if known_to_ms is not None and known_to_ms > limit:
        text = f"a client's clock is known to {known_to_ms:.2f} ms only (limit {limit:g} ms)"
        yield Reason(check="client_clocks", severity=Verdict.SUSPECT, text=f"{text}: machines may send out of step")


@rule("calibrated")
def calibrated(evidence: RunEvidence) -> Iterator[Reason]:
    """Beyond what ``benchhydra calibrate`` found exact, nobody has seen this machine to be exact."""
    offered, known = evidence.facts.offered_rps, evidence.facts.calibrated_rps
    if offered is not None and known is not None and offered > known:
        text = f"{offered:.4g} requests/s were offered; this machine is known to be exact up to {known:.4g}"
        yield Reason(check="calibrated", severity=Verdict.SUSPECT, text=f"{text} (benchhydra calibrate)")


def latency_ms(rows: Records) -> float | None:
    """Median TTFT of completed requests, or of whole answers where no first token is known; None where none is."""
    done = rows.where(rows.completed & (rows.sent_ns >= 0))
    if not len(done):
        return None
    known = done.first_ns >= 0
    spent = (done.first_ns - done.sent_ns)[known] if known.any() else done.done_ns - done.sent_ns
    return float(np.median(spent)) / 1e6


def _invalid(name: str, text: str) -> Reason:
    return Reason(check=name, severity=Verdict.INVALID, text=text)
