"""Rules on the window: was one state of the server measured, without its start and without a growing queue?

A queue that grows makes every latency later than the one before: latency rises by (offered / served - 1) for each
second of sending. So a steady rise is looked for in the latencies themselves, in the means of ten batches in order of
sending: a line's slope over them is tested with Student's t (batch means are nearly independent and nearly normal),
and only a rise that is large, and still goes on in the second half, counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchhydra.result import Reason
from benchhydra.validity import RunEvidence, invalid, percent, rule, suspect
from benchhydra.window import Window

BATCHES = 10
LEAST_ROWS = 40
#: Student's t with 8 degrees of freedom, one-sided, at 0.0005: one in a thousand windows for the two latencies tested.
CRITICAL_T = 5.04
FIRST = 3

Floats = npt.NDArray[np.floating[Any]]


class Rise(NamedTuple):
    """How latencies change over a window; each of shape (...,) for values of shape (..., n).

    slope: ms per second of sending; fraction: rise over the window relative to its median; t: of the slope; goes_on:
    whether the second half rises by at least half of its part.
    """

    slope: Floats
    fraction: Floats
    t: Floats
    goes_on: npt.NDArray[np.bool_]

    def significant(self, least_fraction: float) -> npt.NDArray[np.bool_]:
        """Whether it is a steady, large rise."""
        return np.asarray((self.t > CRITICAL_T) & (self.fraction > least_fraction) & self.goes_on)


def rise(at_s: Floats, values_ms: Floats) -> Rise:
    """The rise of latencies over their times of sending, in order; both of shape (..., n) with n >= 20."""
    x, y = _batch_means(at_s), _batch_means(values_ms)
    slope, t = _line(x, y)
    second_half_slope, _ = _line(x[..., BATCHES // 2 :], y[..., BATCHES // 2 :])
    span_s = at_s[..., -1] - at_s[..., 0]
    median_ms = np.maximum(np.median(values_ms, axis=-1), 1e-9)
    goes_on = np.asarray(second_half_slope > slope / 2)
    return Rise(slope=slope, fraction=slope * span_s / median_ms, t=t, goes_on=goes_on)


@rule("stationary")
def stationary(evidence: RunEvidence) -> Iterator[Reason]:
    """While a queue grows, latencies measure the length of the window, not the server."""
    window, facts, limits = evidence.window, evidence.facts, evidence.limits
    order = _sending_order(window)
    if not facts["stationary"] or len(order) < LEAST_ROWS or np.ptp(window.sent_ns[order]) == 0:
        return
    at_s = (window.sent_ns[order] - window.sent_ns[order[0]]) / 1e9
    for name, values_ms in _latencies(window, order).items():
        seen = rise(at_s, values_ms)
        if not seen.significant(limits.rise_fraction):
            continue
        served = 1 / (1 + float(seen.slope) / 1e3)
        growth = f"{seen.slope:.3g} ms per second of sending ({percent(float(seen.fraction))} of its median"
        if facts["offered_rps"] is not None and served < limits.reached_fraction:
            kept_up = f"about {percent(served)} of the rate (limit {percent(limits.reached_fraction)})"
            yield invalid("stationary", f"{name} kept rising, by {growth}): the server kept up with {kept_up}")
        else:
            text = f"{name} kept rising, by {growth}, limit {percent(limits.rise_fraction)})"
            yield suspect("stationary", f"{text}: the window is not steady")
        return


@rule("warmup")
def warmup(evidence: RunEvidence) -> Iterator[Reason]:
    """First requests that are far slower than all others met a server that was not warm."""
    window, limit = evidence.window, evidence.limits.slow_start_ratio
    order = _sending_order(window)
    if not evidence.facts["stationary"] or len(order) < LEAST_ROWS:
        return
    for name, values_ms in _latencies(window, order).items():
        if slow_start(values_ms, limit):
            first_ms, rest_ms = values_ms[:FIRST].mean(), np.median(values_ms[FIRST:])
            text = f"the first {FIRST} requests had a mean {name} of {first_ms:.1f} ms, the others {rest_ms:.1f} ms"
            yield suspect("warmup", f"{text}: the window includes warm-up, cut it off with load.warmup_s=5")
            return


def slow_start(values_ms: Floats, ratio: float) -> npt.NDArray[np.bool_]:
    """Whether the first values are far above the rest; shape (...,) for values of shape (..., n).

    Either the first three are (their least beyond twice that of any other three in a row: queues come and go, too), or
    the very first alone is beyond twice the maximum of the rest.
    """
    first, rest = values_ms[..., :FIRST], values_ms[..., FIRST:]
    median = np.median(rest, axis=-1)
    slowest_three = np.lib.stride_tricks.sliding_window_view(rest, FIRST, axis=-1).min(axis=-1).max(axis=-1)
    several = (first.min(axis=-1) > 2 * slowest_three) & (np.median(first, axis=-1) > ratio * median)
    single = (first[..., 0] > 2 * rest.max(axis=-1)) & (first[..., 0] > ratio * median)
    return np.asarray(several | single)


def _sending_order(window: Window) -> npt.NDArray[np.intp]:
    """Indices of the completed rows by the time at which they were sent."""
    rows = np.flatnonzero(window.completed & (window.sent_ns >= 0))
    return np.asarray(rows[np.argsort(window.sent_ns[rows], kind="stable")])


def _latencies(window: Window, rows: npt.NDArray[np.intp]) -> Mapping[str, Floats]:
    """Latencies of rows in ms by name: TTFT where every row has one, and E2E latency."""
    ttft_ms, e2el_ms = window.ttft_ms[rows], window.e2el_ms[rows]
    return {"E2E latency": e2el_ms} if np.isnan(ttft_ms).any() else {"TTFT": ttft_ms, "E2E latency": e2el_ms}


def _batch_means(values: Floats) -> Floats:
    """Means of ``BATCHES`` parts of equal size, the remainder cut off at the start; shape (..., BATCHES)."""
    size = values.shape[-1] // BATCHES
    whole = values[..., values.shape[-1] - size * BATCHES :]
    return np.asarray(whole.reshape(*values.shape[:-1], BATCHES, size).mean(axis=-1))


def _line(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Slope of the line through points, and Student's t of it; shape (...,) for points of shape (..., k)."""
    dx, dy = x - x.mean(axis=-1, keepdims=True), y - y.mean(axis=-1, keepdims=True)
    sxx = (dx**2).sum(axis=-1)
    slope = (dx * dy).sum(axis=-1) / sxx
    residual = ((dy - slope[..., None] * dx) ** 2).sum(axis=-1) / (x.shape[-1] - 2)
    return np.asarray(slope), np.asarray(slope / np.sqrt(np.maximum(residual / sxx, 1e-30)))
