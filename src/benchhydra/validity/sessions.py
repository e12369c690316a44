"""Rules on conversations: did they come to their ends, and does the server finish as many as are started?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchhydra.failure_texts import commonest_failure
from benchhydra.result import Reason
from benchhydra.session_table import session_table
from benchhydra.validity import RunEvidence, as_percent, invalid, rule
from benchhydra.validity.overload import LEAST_ROWS, backlog


@rule("broken_sessions")
def broken_sessions(evidence: RunEvidence) -> Iterator[Reason]:
    """The later turns of a session that broke off were never sent: the server had less load, and shorter histories."""
    window, limit = evidence.window, evidence.limits.failed_fraction
    if "session" not in window.labels or evidence.facts["interrupted"]:
        return
    table = session_table(window)
    broken, not_sent = int((~table.complete).sum()), int((table.turns - table.sent).sum())
    if len(table) and broken / len(table) > limit:
        fraction = f"{as_percent(broken / len(table), 1)}, limit {as_percent(limit, 1)}"
        text = f"{broken} of {len(table)} sessions broke off ({fraction}), so that {not_sent} turns were not sent"
        words = commonest_failure(window)
        yield invalid("broken_sessions", text + (f"; most often: {words}" if words else ""))


@rule("sessions_overloaded")
def sessions_overloaded(evidence: RunEvidence) -> Iterator[Reason]:
    """Sessions must end as fast as they start, or each takes longer than the one before.

    As in ``overload``, ended / started = 1 / (1 + slope of the duration over the time of starting).
    """
    window, limit = evidence.window, evidence.limits.reached_fraction
    offered = evidence.facts["offered_sessions_per_s"]
    if "session" not in window.labels or offered is None:
        return
    table = session_table(window)
    order = np.flatnonzero(table.complete)
    order = order[np.argsort(table.start_ns[order], kind="stable")]
    if len(order) < LEAST_ROWS or np.ptp(table.start_ns[order]) == 0:
        return
    at_s = (table.start_ns[order] - table.start_ns[order[0]]) / 1e9
    duration_s = table.duration_s[order]
    queue = backlog(at_s, duration_s * 1e3, limit, waits=False)
    if queue.grows:
        ended = float(queue.finished_fraction)
        early_s, late_s = (float(np.median(part)) for part in np.array_split(duration_s, 2))
        fraction = f"{as_percent(ended)}, limit {as_percent(limit)}"
        rates = f"about {ended * offered:.3g} of {offered:.3g} sessions/s ended ({fraction})"
        rise = f"the duration of sessions rose from {early_s:.3g} s (first half) to {late_s:.3g} s (second half)"
        yield invalid("sessions_overloaded", f"the server was overloaded: {rates}, and {rise}: lower qps")
