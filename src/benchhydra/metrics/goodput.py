"""Goodput: requests within all limits of the root key ``slo``."""

from __future__ import annotations

from benchhydra.metrics import metric
from benchhydra.metrics.throughput import per_second
from benchhydra.result import Better
from benchhydra.window import Window


@metric(
    "request_goodput",
    unit="requests/s",
    better=Better.BIGGER,
    doc="answers within all limits of slo / duration_s; a limit of a latency that an answer lacks counts as met",
    needs=("latency", "slo"),
)
def request_goodput(window: Window) -> float | None:
    return per_second(window, _within_limits(window.ended_inside())) if window.slo else None


@metric(
    "slo_attainment",
    unit="fraction",
    better=Better.BIGGER,
    doc="fraction of the completed and failed requests that are within all limits of slo",
    needs=("latency", "slo"),
)
def slo_attainment(window: Window) -> float | None:
    ended = int(window.completed.sum() + window.failed.sum())
    return _within_limits(window) / ended if window.slo and ended else None


def _within_limits(window: Window) -> int:
    """Return the number of completed rows within all limits; a limit counts as met if the latency is NaN (missing)."""
    good = window.completed.copy()
    for column, limit in window.slo.items():
        good &= ~(getattr(window, column) > limit)
    return int(good.sum())
