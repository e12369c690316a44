"""Rules on the window: was it one state of the server that was measured, without its start and without a growing queue?

A queue that grows makes every latency later than the one before: latency rises by (offered / served - 1) for each
second of sending. So a steady rise is looked for in the latencies themselves, in the means of ten batches in order of
sending: a line's slope over them is tested with Student's t (batch means are nearly independent and nearly normal),
and only a rise that is large, and still goes on in the second half, counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchhydra.records import Records
from benchhydra.result import Reason, Verdict
from benchhydra.validity import RunEvidence, rule

BATCHES = 10
LEAST_ROWS = 40
#: Student's t with 8 degrees of freedom, one-sided, at 0.0005: one in a thousand windows for the two latencies tested.
CRITICAL_T = 5.04
FIRST = 3

Floats = npt.NDArray[np.floating[Any]]


class Rise(NamedTuple):
    """How latencies change over a window; each of shape (...,) for values of shape (..., n).

    slope: ms a second of sending; share: rise over the window against its median; t: of the slope; goes_on: whether
    the second half rises by at least half of its part.
    """

    slope: Floats
    share: Floats
    t: Floats
    goes_on: npt.NDArray[np.bool_]

    def found(self, least_share: float) -> npt.NDArray[np.bool_]:
        """Whether it is a steady, large rise."""
        return np.asarray((self.t > CRITICAL_T) & (self.share > least_share) & self.goes_on)


def rise(at_s: Floats, values_ms: Floats) -> Rise:
    """The rise of latencies over their times of sending, in order; both of shape (..., n) with n >= 20."""
    x, y = _batch_means(at_s), _batch_means(values_ms)
    slope, t = _line(x, y)
    half, _ = _line(x[..., BATCHES // 2 :], y[..., BATCHES // 2 :])
    span = at_s[..., -1] - at_s[..., 0]
    middle = np.maximum(np.median(values_ms, axis=-1), 1e-9)
    return Rise(slope=slope, share=slope * span / middle, t=t, goes_on=np.asarray(half > slope / 2))


@rule("stationary")
def stationary(evidence: RunEvidence) -> Iterator[Reason]:
    """Latencies of a window in which the queue grows are those of its length, not of the server."""
    rows, facts, limits = _in_order(evidence.rows), evidence.facts, evidence.limits
    if not facts.stationary or len(rows) < LEAST_ROWS or np.ptp(rows.sent_ns) == 0:
        return
    at_s = (rows.sent_ns - rows.sent_ns[0]) / 1e9
    for name, values_ms in _latencies(rows).items():
        seen = rise(at_s, values_ms)
        if not seen.found(limits.rise_share):
            continue
        served = 1 / (1 + float(seen.slope) / 1e3)
        text = f"{name} kept rising, by {seen.slope:.3g} ms each second of sending ({seen.share:.0%} of its median)"
        if facts.offered_rps is not None and served < limits.reached_share:
            text += f": the server kept up with about {served:.0%} of the rate (limit {limits.reached_share:.0%})"
            yield Reason(check="stationary", severity=Verdict.INVALID, text=text)
        else:
            text += f", limit {limits.rise_share:.0%}: the window is not steady"
            yield Reason(check="stationary", severity=Verdict.SUSPECT, text=text)
        return


@rule("warmup")
def warmup(evidence: RunEvidence) -> Iterator[Reason]:
    """First requests that are far slower than all others met a server that was not warm."""
    rows, limit = _in_order(evidence.rows), evidence.limits.slow_start_ratio
    if not evidence.facts.stationary or len(rows) < LEAST_ROWS:
        return
    for name, values_ms in _latencies(rows).items():
        if slow_start(values_ms, limit):
            first, rest = values_ms[:FIRST].mean(), np.median(values_ms[FIRST:])
            text = f"the first {FIRST} requests took {first:.1f} ms of {name} in the mean, the others {rest:.1f} ms"
            yield Reason(
                check="warmup", severity=Verdict.SUSPECT, text=f"{text}: the window holds warm-up (load.warmup_s=5)"
            )
            return


def slow_start(values_ms: Floats, ratio: float) -> npt.NDArray[np.bool_]:
    """Whether the first values are far above the rest; shape (...,) for values of shape (..., n).

    Either the first three are (their least beyond twice that of any other three in a row: queues come and go, too), or
    the very first alone is beyond twice the maximum of the rest.
    """
    first, rest = values_ms[..., :FIRST], values_ms[..., FIRST:]
    middle = np.median(rest, axis=-1)
    runs = np.lib.stride_tricks.sliding_window_view(rest, FIRST, axis=-1).min(axis=-1)
    several = (first.min(axis=-1) > 2 * runs.max(axis=-1)) & (np.median(first, axis=-1) > ratio * middle)
    one = (first[..., 0] > 2 * rest.max(axis=-1)) & (first[..., 0] > ratio * middle)
    return np.asarray(several | one)


def _latencies(rows: Records) -> Mapping[str, Floats]:
    """By name: TTFT where every row has one, and the time of whole answers."""
    found = {"latency": (rows.done_ns - rows.sent_ns) / 1e6}
    return {"TTFT": (rows.first_ns - rows.sent_ns) / 1e6} | found if (rows.first_ns >= 0).all() else found


def _in_order(rows: Records) -> Records:
    """Completed rows by the time they were sent; only the times that are used here are put in order."""
    done = rows.where(rows.completed & (rows.sent_ns >= 0))
    if (np.diff(done.sent_ns) >= 0).all():
        return done
    order = np.argsort(done.sent_ns, kind="stable")
    return replace(done, sent_ns=done.sent_ns[order], first_ns=done.first_ns[order], done_ns=done.done_ns[order])


def _batch_means(values: Floats) -> Floats:
    """Means of ``BATCHES`` parts of equal size, what is left over at the begin cut off; shape (..., BATCHES)."""
    size = values.shape[-1] // BATCHES
    kept = values[..., values.shape[-1] - size * BATCHES :]
    return np.asarray(kept.reshape(*values.shape[:-1], BATCHES, size).mean(axis=-1))


def _line(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Slope of the line through points, and Student's t of it; shape (...,) for points of shape (..., k)."""
    dx, dy = x - x.mean(axis=-1, keepdims=True), y - y.mean(axis=-1, keepdims=True)
    sxx = (dx**2).sum(axis=-1)
    slope = (dx * dy).sum(axis=-1) / sxx
    left = ((dy - slope[..., None] * dx) ** 2).sum(axis=-1) / (x.shape[-1] - 2)
    return np.asarray(slope), np.asarray(slope / np.sqrt(np.maximum(left / sxx, 1e-30)))
