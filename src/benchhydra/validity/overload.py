"""The rule on overload: if requests arrive faster than they are finished, latency depends on the length of the run.

The rate at which a server finishes requests cannot be read off the end of a run: the last answers of a healthy server
end after the last request was sent too, and with long answers most of them do. But while a queue grows, the latency of
each request is longer than that of the request before it: by offered / finished - 1 seconds for each second of sending.
So finished / offered = 1 / (1 + slope of latency over the time of sending), whatever the length of the answers.

Three tests keep a steady server from being called overloaded; docs/validity.md has their rates of false alarms:

- Kendall's tau of latency and order of sending (M. G. Kendall, "A new measure of rank correlation", Biometrika 30,
  1938): no chance result if latencies are independent, whatever their distribution.
- Waits in a queue are not independent. The sum of n services varies by 1 / sqrt(n), so finished / offered must be below
  its limit by ``SPREAD`` / sqrt(n); or the rise of TTFT must be ``WALK`` times that of a random walk of the same steps.
- The rise must continue in the second half.

A server with many slots has a queue only from the moment when all of them are taken, which may be the end of a short
run. So TTFT of at least ``LATE_ROWS`` requests is also tested for a queue that begins late: the last fifth of the
requests waited longer than half the time of sending, and twice as long as each request of the first half.

A server without slots, which decodes all requests at once, is judged by the time between chunks: ``_decode_load``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchhydra.result import Reason
from benchhydra.validity import RunEvidence, as_percent, invalid, rule
from benchhydra.validity._decode_load import decode_load
from benchhydra.validity.window import Floats, batch_means, latencies_ms, line, sending_order
from benchhydra.window import Window
from benchhydra.window_series import named

#: Fewer completed requests have too few orders to tell a queue from chance.
LEAST_ROWS = 8
LATE_ROWS = 16
#: Tau is computed over at most this many batch means.
BATCHES = 20
#: Quantile of the normal distribution, one-sided, at 0.0005.
CRITICAL_Z = 3.29
SPREAD = 1.5
WALK = 3.0
#: With a rise of ``WALK``, finished / offered must be below its limit by this much.
MARGIN = 0.05
#: The slope of the second half must be more than this fraction of the whole slope.
SECOND_HALF = 0.25


class Backlog(NamedTuple):
    """Whether a queue grows; each of shape (...,) for latencies of shape (..., n).

    finished_fraction: requests finished per request offered, from the slope of latency; grows: whether it is
    significantly below its limit.
    """

    finished_fraction: Floats
    grows: npt.NDArray[np.bool_]


class Sign(NamedTuple):
    """What shows that a server is overloaded: requests finished per request offered, and words."""

    finished_fraction: float
    text: str


@rule("overloaded")
def overloaded(evidence: RunEvidence) -> Iterator[Reason]:
    """The server must finish requests as fast as they are offered."""
    window, limit = evidence.window, evidence.limits.reached_fraction
    offered_rps, order = evidence.facts["offered_rps"], sending_order(evidence.window)
    if not evidence.facts["stationary"] or offered_rps is None or len(order) < LEAST_ROWS:
        return
    sign = growing_queue(window, order, limit) or _slow_decoding(window, order, offered_rps, limit)
    if sign is not None:
        rates = f"about {sign.finished_fraction * offered_rps:.3g} of {offered_rps:.3g} requests/s offered"
        fraction = f"{as_percent(sign.finished_fraction)}, limit {as_percent(limit)}"
        text = f"the server was overloaded: it could finish {rates} ({fraction}), and {sign.text}"
        text = f"{text} while the load was sent{_server_queue(window, order)}"
        yield invalid("overloaded", f"{text}: lower qps, or use load=concurrency")


def _server_queue(window: Window, order: npt.NDArray[np.intp]) -> str:
    """Return how many requests the server says were waiting when sending ended, as the end of a sentence."""
    sent_ns = window.sent_ns[order]
    for waiting in named(window.series, "server.requests_waiting"):
        inside = waiting.values[(waiting.times_ns >= sent_ns[0]) & (waiting.times_ns <= sent_ns[-1])]
        if len(inside) and inside[-1] > inside[0]:
            return f" (the server's queue: {inside[0]:g} requests, then {inside[-1]:g})"
    return ""


def growing_queue(window: Window, order: npt.NDArray[np.intp], limit: float) -> Sign | None:
    """Return the sign of a queue: latencies that rise with the time of sending. order: the rows as they were sent."""
    at_s = (window.sent_ns[order] - window.sent_ns[order[0]]) / 1e9
    for name, values_ms in latencies_ms(window, order).items() if at_s[-1] > 0 else ():
        queue = backlog(at_s, values_ms, limit, waits=name == "TTFT")
        begins_late = name == "TTFT" and queue.finished_fraction < limit and queues_late(at_s, values_ms)
        if queue.grows or begins_late:
            early_ms, late_ms = (float(np.median(part)) for part in _first_and_last(values_ms))
            text = f"{name} rose from {early_ms:.4g} ms (first half) to {late_ms:.4g} ms (last fifth)"
            return Sign(finished_fraction=float(queue.finished_fraction), text=text)
    return None


def _slow_decoding(window: Window, order: npt.NDArray[np.intp], offered_rps: float, limit: float) -> Sign | None:
    """Return the sign of too many streams at once: chunks that come more slowly the more streams are in flight."""
    sent_ns = window.sent_ns[order]
    load = decode_load(window.every, int(sent_ns[0]), int(sent_ns[-1]), offered_rps)
    if load is None or not load.rises or load.finished_fraction >= limit - SPREAD / np.sqrt(len(order)):
        return None
    text = f"with more and more streams the time between chunks rose from {load.first_gap_ms:.4g} to"
    return Sign(finished_fraction=load.finished_fraction, text=f"{text} {load.last_gap_ms:.4g} ms")


def backlog(at_s: Floats, values_ms: Floats, limit: float, *, waits: bool) -> Backlog:
    """Return whether latencies show a growing queue, over their times of sending (sorted); both of shape (..., n).

    waits: the values are TTFTs, which change from request to request by what a queue grew. E2E latencies of requests
    that are decoded together change smoothly, so that for them a random walk is no measure of chance.
    """
    count = at_s.shape[-1]
    slope = line(at_s, values_ms)[0] / 1e3
    second_half_slope = line(at_s[..., count // 2 :], values_ms[..., count // 2 :])[0] / 1e3
    finished_fraction = 1 / (1 + np.maximum(slope, 0))
    span_ms = (at_s[..., -1] - at_s[..., 0]) * 1e3
    step_ms = np.diff(values_ms, axis=-1).std(axis=-1)
    walks = slope * span_ms > WALK * step_ms * np.sqrt(count - 1)
    far_below = (finished_fraction < limit - SPREAD / np.sqrt(count)) | (
        waits & (finished_fraction < limit - MARGIN) & walks
    )
    rises = _kendall_z(batch_means(values_ms, min(count, BATCHES))) > CRITICAL_Z
    grows = far_below & rises & (second_half_slope > slope * SECOND_HALF)
    return Backlog(finished_fraction=finished_fraction, grows=np.asarray(grows))


def queues_late(at_s: Floats, ttft_ms: Floats) -> npt.NDArray[np.bool_]:
    """Return whether a queue begins near the end of sending, shape (...,) for values of shape (..., n)."""
    first, last = _first_and_last(ttft_ms)
    span_ms = (at_s[..., -1] - at_s[..., 0]) * 1e3
    far_above = (last.min(axis=-1) > 2 * first.max(axis=-1)) & (at_s.shape[-1] >= LATE_ROWS)
    return np.asarray(far_above & (np.median(last, axis=-1) > span_ms / 2))


def _first_and_last(values: Floats) -> tuple[Floats, Floats]:
    """Return the first half and the last fifth (at least three) of values of shape (..., n)."""
    count = values.shape[-1]
    return values[..., : count // 2], values[..., -max(3, count // 5) :]


def _kendall_z(values: Floats) -> Floats:
    """Return Kendall's statistic of values and their order over its standard deviation, shape (...,) for (..., k)."""
    count = values.shape[-1]
    first, second = np.triu_indices(count, 1)
    statistic = np.sign(values[..., second] - values[..., first]).sum(axis=-1)
    return np.asarray(statistic / np.sqrt(count * (count - 1) * (2 * count + 5) / 18))
