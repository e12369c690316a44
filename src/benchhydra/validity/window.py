"""Rules on the window: are its figures possible, and was the server in a steady state, without warm-up?

While a queue grows, latency rises by (offered / served - 1) seconds per second of sending. To detect this, the
latencies in order of sending are averaged in ten batches, and the slope of a line through the means is tested with
Student's t (batch means are nearly independent and nearly normal). A rise counts only if it is large and continues in
the second half.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchhydra.result import Reason
from benchhydra.validity import RunEvidence, as_percent, invalid, rule, suspect
from benchhydra.window import Window

#: No server has generated, or read, as many tokens per second. The largest of 2025 generate some millions.
MOST_OUTPUT_TPS = 1e8
MOST_PROMPT_TPS = 1e10
BATCHES = 10
LEAST_ROWS = 40
#: Student's t with 8 degrees of freedom, one-sided, at 0.0005: with two latencies, 1 false alarm in 1000 windows.
CRITICAL_T = 5.04
FIRST = 3

Floats = npt.NDArray[np.floating[Any]]


class Rise(NamedTuple):
    """How latencies change over a window; each of shape (...,) for values of shape (..., n).

    slope: ms per second of sending; fraction: rise over the window / median; t: Student's t of the slope; goes_on:
    whether the slope of the second half is more than half of the whole slope.
    """

    slope: Floats
    fraction: Floats
    t: Floats
    goes_on: npt.NDArray[np.bool_]

    def significant(self, least_fraction: float) -> npt.NDArray[np.bool_]:
        """Return whether the rise is significant, larger than ``least_fraction`` and continues, shape (...,)."""
        return np.asarray((self.t > CRITICAL_T) & (self.fraction > least_fraction) & self.goes_on)


def rise(at_s: Floats, values_ms: Floats) -> Rise:
    """Return the rise of latencies over their times of sending (sorted); both of shape (..., n) with n >= 20."""
    x, y = batch_means(at_s, BATCHES), batch_means(values_ms, BATCHES)
    slope, t = line(x, y)
    second_half_slope, _ = line(x[..., BATCHES // 2 :], y[..., BATCHES // 2 :])
    span_s = at_s[..., -1] - at_s[..., 0]
    median_ms = np.maximum(np.median(values_ms, axis=-1), 1e-9)
    goes_on = np.asarray(second_half_slope > slope / 2)
    return Rise(slope=slope, fraction=slope * span_s / median_ms, t=t, goes_on=goes_on)


@rule("window_figures")
def window_figures(evidence: RunEvidence) -> Iterator[Reason]:
    """Times must be in order, and the window's rates such that a server can have them."""
    window = evidence.window
    count = int(_disordered(window).sum())
    if count:
        text = f"{count} of {int(window.completed.sum())} answers have impossible times"
        yield invalid("window_figures", f"{text}: they end before they begin, or take no time; check the clock")
    for kind, column, most_tps in (
        ("output", "output_tokens", MOST_OUTPUT_TPS),
        ("prompt", "prompt_tokens", MOST_PROMPT_TPS),
    ):
        tokens = int(np.maximum(getattr(window.ended, column), 0).sum(dtype=np.int64))
        rate_tps = tokens / window.duration_s if window.duration_s else 0.0
        if rate_tps > most_tps:
            text = f"{rate_tps:.3g} {kind} tokens/s is more than any server can do (limit {most_tps:.0e})"
            yield invalid("window_figures", f"{text}: the server's usage is wrong")


@rule("stationary")
def stationary(evidence: RunEvidence) -> Iterator[Reason]:
    """While a queue grows, latencies depend on the length of the window, not only on the server."""
    window, facts, limits = evidence.window, evidence.facts, evidence.limits
    order = sending_order(window)
    if not facts["stationary"] or len(order) < LEAST_ROWS or np.ptp(window.sent_ns[order]) == 0:
        return
    at_s = (window.sent_ns[order] - window.sent_ns[order[0]]) / 1e9
    for name, values_ms in latencies_ms(window, order).items():
        trend = rise(at_s, values_ms)
        if not trend.significant(limits.rise_fraction):
            continue
        served = 1 / (1 + float(trend.slope) / 1e3)
        growth = f"{trend.slope:.3g} ms per second of sending ({as_percent(float(trend.fraction))} of its median"
        if facts["offered_rps"] is not None and served < limits.reached_fraction:
            kept_up = f"about {as_percent(served)} of the rate (limit {as_percent(limits.reached_fraction)})"
            yield invalid("stationary", f"{name} kept rising, by {growth}): the server kept up with {kept_up}")
        else:
            text = f"{name} kept rising, by {growth}, limit {as_percent(limits.rise_fraction)})"
            yield suspect("stationary", f"{text}: the window is not steady")
        return


@rule("warmup")
def warmup(evidence: RunEvidence) -> Iterator[Reason]:
    """If the first requests are far slower than all others, the server was not warm."""
    window, limit = evidence.window, evidence.limits.slow_start_ratio
    order = sending_order(window)
    if not evidence.facts["stationary"] or len(order) < LEAST_ROWS:
        return
    for name, values_ms in latencies_ms(window, order).items():
        if slow_start(values_ms, limit):
            first_ms, rest_ms = values_ms[:FIRST].mean(), np.median(values_ms[FIRST:])
            text = f"the first {FIRST} requests had a mean {name} of {first_ms:.1f} ms, the others {rest_ms:.1f} ms"
            yield suspect("warmup", f"{text}: the window includes warm-up, cut it off with load.warmup_s=5")
            return


def slow_start(values_ms: Floats, ratio: float) -> npt.NDArray[np.bool_]:
    """Return whether the first values are far above the rest; shape (...,) for values of shape (..., n).

    Either the minimum of the first three is more than twice that of any later three in a row (which excludes queues
    that come and go), or the first value is more than twice the maximum of the rest. In both cases, the median of the
    first three, or the first value, must also exceed ``ratio`` times the median of the rest.
    """
    first, rest = values_ms[..., :FIRST], values_ms[..., FIRST:]
    median = np.median(rest, axis=-1)
    slowest_three = np.lib.stride_tricks.sliding_window_view(rest, FIRST, axis=-1).min(axis=-1).max(axis=-1)
    several = (first.min(axis=-1) > 2 * slowest_three) & (np.median(first, axis=-1) > ratio * median)
    single = (first[..., 0] > 2 * rest.max(axis=-1)) & (first[..., 0] > ratio * median)
    return np.asarray(several | single)


def _disordered(window: Window) -> npt.NDArray[np.bool_]:
    """Mask of the completed rows whose times are not in order, shape (n,)."""
    wrong = (window.sent_ns < 0) | (window.done_ns <= window.sent_ns)
    latest_ns = window.sent_ns
    for times_ns in (window.first_byte_ns, window.first_ns, window.last_ns, window.done_ns):
        wrong |= (times_ns >= 0) & (times_ns < latest_ns)
        latest_ns = np.maximum(latest_ns, times_ns)
    rows_with_negative_gaps = np.searchsorted(window.gap_offsets, np.flatnonzero(window.gaps_ns < 0), side="right") - 1
    wrong[rows_with_negative_gaps] = True
    return np.asarray(wrong & window.completed)


def sending_order(window: Window) -> npt.NDArray[np.intp]:
    """Return the indices of the completed rows, sorted by send time."""
    rows = np.flatnonzero(window.completed & (window.sent_ns >= 0))
    return np.asarray(rows[np.argsort(window.sent_ns[rows], kind="stable")])


def latencies_ms(window: Window, rows: npt.NDArray[np.intp]) -> Mapping[str, Floats]:
    """Return the latencies of rows in ms by name: E2E latency, and TTFT if every row has one."""
    ttft_ms, e2el_ms = window.ttft_ms[rows], window.e2el_ms[rows]
    return {"E2E latency": e2el_ms} if np.isnan(ttft_ms).any() else {"TTFT": ttft_ms, "E2E latency": e2el_ms}


def batch_means(values: Floats, batches: int) -> Floats:
    """Return the means of parts of equal size, shape (..., batches); drops the remainder at the start."""
    size = values.shape[-1] // batches
    whole = values[..., values.shape[-1] - size * batches :]
    return np.asarray(whole.reshape(*values.shape[:-1], batches, size).mean(axis=-1))


def line(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return slope and Student's t of a least-squares line; shape (...,) for points of shape (..., k)."""
    dx, dy = x - x.mean(axis=-1, keepdims=True), y - y.mean(axis=-1, keepdims=True)
    sxx = np.maximum((dx**2).sum(axis=-1), 1e-30)  # 0 if all were sent at once
    slope = (dx * dy).sum(axis=-1) / sxx
    residual = ((dy - slope[..., None] * dx) ** 2).sum(axis=-1) / (x.shape[-1] - 2)
    return np.asarray(slope), np.asarray(slope / np.sqrt(np.maximum(residual / sxx, 1e-30)))
