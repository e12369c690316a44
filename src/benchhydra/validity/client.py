"""Rules on the client: did it send on schedule, and did it read answers without delay?

Lateness is compared with the gaps between requests and with the measured latencies, because smaller delays do not
change the figures. So the limits are higher for slower servers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchhydra.failure_texts import commonest_failure
from benchhydra.records import Status
from benchhydra.result import Reason
from benchhydra.validity import RunEvidence, as_percent, invalid, rule, suspect
from benchhydra.window import Window

#: Names of errors at limits of this machine -> what the limit is, and what to do.
_LIMITS = {
    "EMFILE": "the client ran out of file descriptors (ulimit -n is {files}): raise the hard limit as root, or lower "
    "qps or load.max_in_flight",
    "ENFILE": "the machine ran out of file descriptors (sysctl fs.file-max)",
    "EADDRNOTAVAIL": "the client ran out of local ports (sysctl net.ipv4.ip_local_port_range); a server that closes "
    "each connection keeps its port for a minute",
    "ENOBUFS": "no memory for sockets (sysctl net.core.wmem_max, net.ipv4.tcp_mem)",
    "ENOMEM": "no memory for sockets (sysctl net.core.wmem_max, net.ipv4.tcp_mem)",
}


@rule("rate")
def rate(evidence: RunEvidence) -> Iterator[Reason]:
    """The requests of the window must have been sent as fast as they were scheduled."""
    window, limits, max_in_flight = evidence.window, evidence.limits, evidence.facts["max_in_flight"]
    sent = (window.sent_ns >= 0) & (window.scheduled_ns >= 0)
    count = int(sent.sum())
    if evidence.facts["offered_rps"] is None or count < 2:
        return
    planned_s, actual_s = (float(np.ptp(times[sent])) / 1e9 for times in (window.scheduled_ns, window.sent_ns))
    if planned_s <= 0 or actual_s - planned_s < limits.lag_ms / 1e3:
        return
    offered_rps, sent_rps = ((count - 1) / seconds for seconds in (planned_s, actual_s))
    if sent_rps / offered_rps < limits.reached_fraction:
        why = "the client did not keep up"
        if max_in_flight is not None:
            why = f"max_in_flight={max_in_flight} held requests back"
        fraction = f"{as_percent(sent_rps / offered_rps)}, limit {as_percent(limits.reached_fraction)}"
        yield invalid("rate", f"{sent_rps:.4g} requests/s were sent of {offered_rps:.4g} offered ({fraction}): {why}")


@rule("client_lag")
def client_lag(evidence: RunEvidence) -> Iterator[Reason]:
    """Requests that are sent late arrive in bursts that the load shape does not have."""
    lag_ms, offered_rps, limits = evidence.facts["client_lag_p99_ms"], evidence.facts["offered_rps"], evidence.limits
    if lag_ms is None or offered_rps is None:
        return
    gap_ms = 1e3 / offered_rps
    latency_ms = median_latency_ms(evidence.window) or 0.0
    limit_ms = max(limits.lag_ms, limits.lag_fraction * gap_ms, limits.lag_fraction * latency_ms)
    if lag_ms > limit_ms:
        limit = f"limit {limit_ms:.1f} ms, with {gap_ms:.1f} ms between requests"
        yield invalid("client_lag", f"the client sent late: the p99 of its own lateness is {lag_ms:.1f} ms ({limit})")


@rule("loop_stall")
def loop_stall(evidence: RunEvidence) -> Iterator[Reason]:
    """While the event loop stalls, answers are not read, so their times are too late."""
    stall_ms, limits = evidence.facts["client_loop_stall_p99_ms"], evidence.limits
    latency_ms = median_latency_ms(evidence.window)
    if stall_ms is None or latency_ms is None:
        return
    limit_ms = max(limits.stall_ms, limits.stall_fraction * latency_ms)
    if stall_ms > limit_ms:
        limit = f"limit {limit_ms:.1f} ms, at a median latency of {latency_ms:.1f} ms"
        yield invalid("loop_stall", f"the client's event loop stalled: p99 {stall_ms:.1f} ms ({limit})")


@rule("client_cpu")
def client_cpu(evidence: RunEvidence) -> Iterator[Reason]:
    """A saturated client measures its own delay."""
    used, limit = evidence.facts["client_cpu_fraction"], evidence.limits.client_cpu_fraction
    if used is not None and used > limit:
        text = f"the client was saturated: it used {as_percent(used)} of a core (limit {as_percent(limit)})"
        yield invalid("client_cpu", f"{text}; spread it with load.processes=N")


@rule("client_wait")
def client_wait(evidence: RunEvidence) -> Iterator[Reason]:
    """A client that shares its core with a busy process reads and sends late.

    The limit is higher if only the server of this run competes with it, as on a machine with few cores. Waits that are
    short beside the measured latencies do not change these: a client that needs little of a core may wait a
    millisecond each time and so get it for a third of the time.
    """
    waited, used_by_others, limits = (
        evidence.facts["client_wait_fraction"],
        evidence.facts["other_cpu_fraction"],
        evidence.limits,
    )
    only_server = used_by_others is not None and used_by_others <= limits.other_cpu_fraction
    limit = limits.client_wait_fraction_of_server if only_server else limits.client_wait_fraction
    if waited is None or waited <= limit:
        return
    wait_ms, latency_ms = evidence.facts["client_wait_ms"], median_latency_ms(evidence.window) or 0.0
    if wait_ms is not None and wait_ms <= max(limits.client_wait_ms, limits.client_wait_latency_fraction * latency_ms):
        return
    text = f"the load generator got the CPU only {as_percent(1 - waited)} of the time it needed it"
    remedy = "its server uses the same core: pin them apart" if only_server else "pin it, or stop other jobs"
    yield invalid("client_wait", f"{text} (limit {as_percent(1 - limit)}): {remedy}")


@rule("client_limits")
def client_limits(evidence: RunEvidence) -> Iterator[Reason]:
    """Requests that fail at a limit of the client's machine say nothing about the server."""
    window = evidence.window
    limited = window.where(window.status == Status.CLIENT_LIMIT)
    if not len(limited):
        return
    words = commonest_failure(limited)
    name = words.partition(" ")[0]
    what = _LIMITS.get(name, f"({words})").format(files=evidence.facts["open_files_limit"] or "too low")
    counts = f"{len(limited)} of {len(window)} requests failed at a limit of this machine, not of the server"
    yield invalid("client_limits", f"{counts}: {what}")


@rule("lost_processes")
def lost_processes(evidence: RunEvidence) -> Iterator[Reason]:
    """A client process that died has sent only a part of its share of the load."""
    lost = evidence.facts["lost_client_processes"]
    if lost:
        yield invalid("lost_processes", f"{len(lost)} client processes returned no rows: {lost[0]}")


@rule("client_clocks")
def client_clocks(evidence: RunEvidence) -> Iterator[Reason]:
    """If the clocks of client machines are uncertain, the machines may not send in the schedule's order."""
    uncertainty_ms, limit_ms = evidence.facts["clock_uncertainty_ms"], evidence.limits.clock_ms
    if uncertainty_ms is not None and uncertainty_ms > limit_ms:
        text = f"the clock of a client machine is uncertain by {uncertainty_ms:.2f} ms (limit {limit_ms:g} ms)"
        yield suspect("client_clocks", f"{text}: machines may send out of order")


@rule("calibrated")
def calibrated(evidence: RunEvidence) -> Iterator[Reason]:
    """Above the rate that ``benchhydra calibrate`` found exact, the client's TTFT error is unknown."""
    offered_rps, calibrated_rps = evidence.facts["offered_rps"], evidence.facts["calibrated_rps"]
    if offered_rps is not None and calibrated_rps is not None and offered_rps > calibrated_rps:
        text = (
            f"{offered_rps:.4g} requests/s were offered, but this client is calibrated only up to {calibrated_rps:.4g}"
        )
        yield suspect("calibrated", f"{text}: run benchhydra calibrate, or lower the rate")


def median_latency_ms(window: Window) -> float | None:
    """Return the median TTFT of completed requests, or else their median E2E latency; None if there is neither."""
    statistics = window.statistics("ttft_ms") or window.statistics("e2el_ms")
    return None if statistics is None else statistics["median"]
