"""The metric table: one declaration a metric; results, MLflow, tables and docs loop over it.

``@metric`` declares; ``summarize`` computes. Metrics are computed over the measured rows. A metric that is unknown is
absent: its function returns None, never 0 and never NaN. This is the only place where nanoseconds become
milliseconds. The built-in metrics are in ``_builtin``; docs/metrics.md is written from this table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.facts import Facts, fact
from benchhydra.records import Mask, Records, Status
from benchhydra.result import Better, MetricValue
from benchhydra.window import Window

Float64 = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
SLO_KEYS = ("ttft_ms", "tpot_ms", "e2el_ms")


fact("offered_rps", unit="requests/s", doc="rate of the schedule; unknown for closed loops and for everything at once")


@dataclass(frozen=True, kw_only=True)
class MetricContext:
    """What metrics may know beside the rows. slo: limits by ``SLO_KEYS``; offered_rps: of the whole schedule."""

    slo: Mapping[str, float] = field(default_factory=dict)
    offered_rps: float | None = None


Compute = Callable[[Window], float | None]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric: name and unit as they stand everywhere, ``doc`` with its formula, the scripts that report it."""

    name: str
    unit: str
    better: Better
    doc: str
    scripts: tuple[str, ...]
    compute: Compute


_table: dict[str, Metric] = {}


def metric(name: str, *, unit: str, better: Better, doc: str, scripts: tuple[str, ...]) -> Callable[[Compute], Compute]:
    """Declare the metric that the decorated function computes."""

    def declare(compute: Compute) -> Compute:
        if name in _table and _table[name].compute.__module__ != compute.__module__:
            raise ConfigError(f"two metrics are called {name}")
        _table[name] = Metric(name=name, unit=unit, better=better, doc=doc, scripts=scripts, compute=compute)
        return compute

    return declare


def table() -> dict[str, Metric]:
    """All declared metrics by name, in order of declaration."""
    return dict(_table)


def summarize(records: Records, script: str, context: MetricContext | None = None) -> list[MetricValue]:
    """The metrics of one script over the measured rows. A metric whose value is unknown is left out.

    Raises BenchhydraError where a metric computes NaN or infinity: that is a defect of the metric.
    """
    context = context or MetricContext()
    window = Window.of(records, slo=context.slo, facts=Facts({"offered_rps": context.offered_rps}))
    found = []
    for declared in _table.values():
        if script not in declared.scripts:
            continue
        value = declared.compute(window)
        if value is None:
            continue
        if not math.isfinite(value):
            raise BenchhydraError(f"metric {declared.name} computed {value} over {len(window)} requests")
        found.append(MetricValue(key=declared.name, unit=declared.unit, value=float(value), better=declared.better))
    return found


def percentile_with_failures(values: Float64, failed: int, share: float) -> float | None:
    """A percentile where failures count as infinitely slow; None where it falls among them. values: shape (n,)."""
    known = np.sort(values[~np.isnan(values)])
    position = share * (len(known) + failed - 1)
    below = math.floor(position)
    above = math.ceil(position)
    if position < 0 or above >= len(known):
        return None
    return float(known[below] + (known[above] - known[below]) * (position - below))


def failed_rows(records: Records) -> Mask:
    """Rows that ended in a failure; those that we cut short ourselves are none."""
    return np.asarray(~records.completed & (records.status != Status.CANCELLED))


from benchhydra.metrics import _builtin  # noqa: E402, F401 - the built-in metrics declare themselves in the table above
