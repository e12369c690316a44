"""How far a point is from each limit of ``slo``, without the luck of its arrivals.

``slo_adjusted_ratio_NAME``, ``slo_adjusted_samples_NAME``
    As ``slo_ratio_NAME`` and ``slo_samples_NAME``, less what a model of the server explains by this load's arrivals and
    lengths (``emulation``). Missing if the emulation does not explain it.
``slo_slope_NAME``
    By how much the logit of the fraction beyond the limit (of a mean: its logarithm) rises with the logarithm of the
    rate, in the emulation, between this load and the limit.
``slo_model_rate_NAME``
    The rate in requests/s at which the emulation meets the limit. It only tells where to measure next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from benchhydra.emulation.load_emulation import Crossing, LimitEmulation, Rows, Values
from benchhydra.emulation.server_model import Floats, Latencies
from benchhydra.metrics import limit_family
from benchhydra.metrics.slo import limit_figures, steady_rows
from benchhydra.records import Phase
from benchhydra.result import Better
from benchhydra.slo import SHARE, SloLimit
from benchhydra.window import Window

#: The columns of latencies that are emulated, as which column of the model; scheduled ones if the client is in time.
COLUMNS = {
    "ttft_ms": "ttft_ms",
    "tpot_ms": "tpot_ms",
    "e2el_ms": "e2el_ms",
    "scheduled_ttft_ms": "ttft_ms",
    "scheduled_e2el_ms": "e2el_ms",
}
#: The variance of a fraction far below the allowed one is taken for one of this fraction of the allowed one.
LEAST_LEVEL = 0.25
#: Scheduled latencies are emulated if those since sending have the same ratio to the limit, up to this fraction of it.
SAME_RATIO = 0.05


def limit_emulation(window: Window, limit: SloLimit) -> LimitEmulation | None:
    """Return what the emulation says about a limit; None without an emulation, or for limits on other values."""
    emulation, values = window.emulation, _values(window, limit)
    if emulation is None or values is None or _is_late(window, limit):
        return None
    return emulation.limit(limit.name, limit.allowed, _emulated_rows(window), values)


def _is_late(window: Window, limit: SloLimit) -> bool:
    """Whether a limit is on latencies since the scheduled time, and requests were sent so late that this matters."""
    column = limit.column or ""
    if not column.startswith("scheduled_"):
        return False
    scheduled = limit_figures(window, limit)
    sent = limit_figures(window, replace(limit, column=column.removeprefix("scheduled_")))
    if scheduled is None or sent is None:
        return True
    return not math.isclose(scheduled.ratio, sent.ratio, rel_tol=SAME_RATIO)


def _emulated_rows(window: Window) -> Rows:
    """The places of the window's steady rows among all rows of the run, in the order of sending."""
    order = np.argsort(window.every.sent_ns, kind="stable")
    places = np.argsort(order)
    return np.asarray(places[window.every.phase == Phase.MEASURED][steady_rows(window)])


def _values(window: Window, limit: SloLimit) -> Values | None:
    """The function from latencies to the values whose mean is limited; None for a limit on other values."""
    if limit.name == SHARE:
        return lambda latencies: _beyond_any(latencies, window.slo)
    column = COLUMNS.get(limit.column or "")
    if column is None:
        return None
    return lambda latencies: _beyond(getattr(latencies, column), limit)


def _beyond(values_ms: Floats, limit: SloLimit) -> Floats:
    if limit.allowed is None:
        return np.asarray(values_ms / limit.bound)
    return np.where(np.isnan(values_ms), np.nan, values_ms > limit.bound)


def _beyond_any(latencies: Latencies, bounds_ms: Mapping[str, float]) -> Floats:
    columns = [getattr(latencies, name) > bound for name, bound in bounds_ms.items()]
    return np.asarray(np.any(columns, axis=0), dtype=np.float64)


@limit_family(
    "slo_adjusted_ratio_", unit="ratio", better=Better.SMALLER, doc="slo_ratio_{} without the luck of arrivals"
)
def adjusted_ratio(window: Window, limit: SloLimit) -> float | None:
    emulation = limit_emulation(window, limit)
    if emulation is None or emulation.adjusted is None:
        return None
    return max(emulation.adjusted.mean, 0.0) / (1.0 if limit.allowed is None else limit.allowed)


@limit_family(
    "slo_adjusted_samples_",
    unit="values",
    better=Better.OBSERVATION,
    doc="independent values behind slo_adjusted_ratio_{}",
)
def adjusted_samples(window: Window, limit: SloLimit) -> float | None:
    emulation = limit_emulation(window, limit)
    if emulation is None or emulation.adjusted is None:
        return None
    mean, variance = emulation.adjusted
    if limit.allowed is None:
        return mean**2 / variance
    level = min(max(mean, LEAST_LEVEL * limit.allowed), 0.5)
    return min(level * (1 - level) / variance, float(emulation.requests))


@limit_family(
    "slo_slope_",
    unit="ratio",
    better=Better.OBSERVATION,
    doc="change of the logit of what is beyond slo.{}, by the logarithm of the rate, in a model of the server",
)
def slope(window: Window, limit: SloLimit) -> float | None:
    crossing = _crossing(window, limit)
    return None if crossing is None else crossing.slope


@limit_family(
    "slo_model_rate_",
    unit="requests/s",
    better=Better.OBSERVATION,
    doc="rate at which a model of the server meets slo.{}",
)
def model_rate(window: Window, limit: SloLimit) -> float | None:
    crossing = _crossing(window, limit)
    return None if crossing is None else crossing.rate


def _crossing(window: Window, limit: SloLimit) -> Crossing | None:
    emulation = limit_emulation(window, limit)
    return None if emulation is None else emulation.crossing
