"""Rules on conversations: did they come to their ends, and does the server finish as many as are started?"""

from __future__ import annotations

from collections.abc import Iterator

from benchhydra.failure_texts import commonest_failure
from benchhydra.result import Reason
from benchhydra.session_table import session_table
from benchhydra.validity import RunEvidence, as_percent, invalid, rule
from benchhydra.validity.overload import LEAST_ROWS, growing_queue
from benchhydra.validity.window import sending_order


@rule("broken_sessions")
def broken_sessions(evidence: RunEvidence) -> Iterator[Reason]:
    """The later turns of a session that broke off were never sent: the server had less load, and shorter histories."""
    window, limit = evidence.window, evidence.limits.failed_fraction
    if "session" not in window.labels:
        return
    table = session_table(window)
    broken, not_sent = int(table.broken.sum()), int((table.turns - table.sent)[table.broken].sum())
    if len(table) and broken / len(table) > limit:
        fraction = f"{as_percent(broken / len(table), 1)}, limit {as_percent(limit, 1)}"
        text = f"{broken} of {len(table)} sessions broke off ({fraction}), so that {not_sent} turns were not sent"
        words = commonest_failure(window)
        yield invalid("broken_sessions", text + (f"; most often: {words}" if words else ""))


@rule("sessions_overloaded")
def sessions_overloaded(evidence: RunEvidence) -> Iterator[Reason]:
    """While sessions start at a constant rate, latencies must not keep rising: see ``overload``.

    Requests have no constant rate at first, until as many sessions end as start; a rise must go on after that.
    """
    window, limit = evidence.window, evidence.limits.reached_fraction
    offered = evidence.facts["offered_sessions_per_s"]
    if "session" not in window.labels or offered is None:
        return
    order = sending_order(window)
    last_start_ns = int(window.scheduled_ns[window.labels["parent"] < 0].max(initial=0))
    order = order[window.sent_ns[order] <= last_start_ns]
    sign = growing_queue(window, order, limit) if len(order) >= LEAST_ROWS else None
    if sign is not None:
        fraction = f"{as_percent(sign.finished_fraction)} of their rate (limit {as_percent(limit)})"
        text = f"the server was overloaded by {offered:.3g} sessions/s: it answered requests at about {fraction}"
        yield invalid("sessions_overloaded", f"{text}, and {sign.text} while sessions started: lower qps")
