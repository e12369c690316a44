"""The metric table: one declaration a metric; results, MLflow, tables and docs loop over it.

``@metric`` declares; ``summarize`` computes. A metric says what it needs, a measurement says what it has:

==============  =========================================================================
capability      what a measurement with it has
==============  =========================================================================
``requests``    rows that are requests
``latency``     rows with times of their own (the rows of an offline batch share theirs)
``stream``      times of tokens: TTFT, TPOT, ITL
``tokens``      token counts of prompts and answers
``generated``   answers that are generated text
``schedule``    times at which the load wanted each request sent
``slo``         limits of latencies
==============  =========================================================================

The names of a measurement's samples and series are capabilities, too; any other word is agreed between a script and its
metrics. Metrics are computed over the measured rows. A metric that is unknown is absent: its function returns None,
never 0 and never NaN. The families are the modules of this package, and those in ``benchhydra_plugins``;
docs/metrics.md is written from this table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import cache

from benchhydra import registry
from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.result import Better, MetricValue
from benchhydra.window import Window

__all__ = ["Better", "Compute", "Metric", "Window", "metric", "summarize", "table"]

Compute = Callable[[Window], float | None]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric: name and unit as they stand everywhere, ``doc`` with its formula, ``needs``: capabilities."""

    name: str
    unit: str
    better: Better
    doc: str
    needs: tuple[str, ...]
    compute: Compute


_table: dict[str, Metric] = {}


def metric(
    name: str, *, unit: str, better: Better, doc: str, needs: tuple[str, ...] = ("requests",)
) -> Callable[[Compute], Compute]:
    """Declare the metric that the decorated function computes where a measurement has all that it needs."""

    def declare(compute: Compute) -> Compute:
        if name in _table and _table[name].compute.__module__ != compute.__module__:
            raise ConfigError(f"two metrics are called {name}")
        _table[name] = Metric(name=name, unit=unit, better=better, doc=doc, needs=needs, compute=compute)
        return compute

    return declare


def table() -> dict[str, Metric]:
    """All metrics by name, family after family; those of the user's plugins last. The order is always the same."""
    _discover()
    return {m.name: m for m in sorted(_table.values(), key=lambda declared: declared.compute.__module__)}


def summarize(window: Window, has: Set[str]) -> list[MetricValue]:
    """The metrics of a window whose needs are among ``has``. A metric whose value is unknown is left out.

    Raises BenchhydraError where a metric computes NaN or infinity: that is a defect of the metric.
    """
    values = []
    for declared in table().values():
        value = declared.compute(window) if has >= set(declared.needs) else None
        if value is None:
            continue
        if not math.isfinite(value):
            raise BenchhydraError(f"metric {declared.name} computed {value} over {len(window)} requests")
        values.append(MetricValue(key=declared.name, unit=declared.unit, value=float(value), better=declared.better))
    return values


@cache
def _discover() -> None:
    registry.import_modules(__name__)
    registry.import_plugins()
