"""The load as scheduled and as sent: length of the window, rates, lateness, concurrency."""

from __future__ import annotations

import numpy as np

from benchhydra.metrics import metric
from benchhydra.records import Int64, Records
from benchhydra.result import Better
from benchhydra.window import Window


@metric(
    "duration_s",
    unit="s",
    better=Better.OBSERVATION,
    doc="the window: first measured send to the last end of an answer, or to the first send of the cool-down",
)
def duration_s(window: Window) -> float | None:
    return window.duration_s


@metric(
    "asked_rps",
    unit="requests/s",
    better=Better.OBSERVATION,
    doc="mean rate that the config asks for (qps; of a ramp its mean); closed loops and recordings have none",
    needs=("schedule",),
)
def asked_rps(window: Window) -> float | None:
    asked: float | None = window.facts["asked_rps"]
    return asked


@metric(
    "offered_rps",
    unit="requests/s",
    better=Better.OBSERVATION,
    doc="rate of the schedule: requests before the last scheduled time / (last scheduled - first); not of closed loops",
    needs=("schedule",),
)
def offered_rps(window: Window) -> float | None:
    offered: float | None = window.facts["offered_rps"]
    if offered is not None:
        return offered
    is_schedule = window.scheduled and window.facts["offered_sessions_per_s"] is None
    return _scheduled_rate(window, window.scheduled_ns) if is_schedule else None


@metric(
    "achieved_rps",
    unit="requests/s",
    better=Better.OBSERVATION,
    doc="rate at which requests were sent: as offered_rps, but by sent times; of closed loops (requests - 1) / time",
    needs=("latency",),
)
def achieved_rps(window: Window) -> float | None:
    sent = window.where(window.sent_ns >= 0) if (window.sent_ns < 0).any() else window
    return _scheduled_rate(sent, sent.sent_ns) if window.scheduled else _mean_rate(sent.sent_ns)


@metric(
    "p99_client_lag_ms",
    unit="ms",
    better=Better.OBSERVATION,
    doc="99th percentile of sent - scheduled; with load.max_in_flight this includes waiting for a free slot",
    needs=("schedule",),
)
def p99_client_lag_ms(window: Window) -> float | None:
    statistics = window.statistics("client_lag_ms") if window.scheduled else None
    return None if statistics is None else statistics["p99"]


@metric(
    "mean_concurrency",
    unit="requests",
    better=Better.OBSERVATION,
    doc="requests in flight, mean over the window's time",
    needs=("latency",),
)
def mean_concurrency(window: Window) -> float | None:
    return None if window.in_flight is None else window.in_flight[0]


@metric(
    "max_concurrency",
    unit="requests",
    better=Better.OBSERVATION,
    doc="maximum number of requests in flight",
    needs=("latency",),
)
def max_concurrency(window: Window) -> float | None:
    return None if window.in_flight is None else float(window.in_flight[1])


def _scheduled_rate(rows: Records, times_ns: Int64) -> float | None:
    """Return the number of rows scheduled before the last / time from first to last; None if that is 0."""
    spread = int(np.ptp(times_ns)) if len(times_ns) > 1 else 0
    earlier = int((rows.scheduled_ns < rows.scheduled_ns.max(initial=0)).sum())
    return earlier * 1e9 / spread if spread and earlier else None


def _mean_rate(times_ns: Int64) -> float | None:
    spread = int(np.ptp(times_ns)) if len(times_ns) > 1 else 0
    return (len(times_ns) - 1) * 1e9 / spread if spread else None
