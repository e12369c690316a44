"""The metric table: one declaration per metric; results, MLflow, tables and docs loop over it.

``@metric`` declares a metric, ``summarize`` computes all of them. A metric lists the capabilities that it needs, and is
computed if the measurement has all of these:

==============  =========================================================================
capability      what a measurement with it has
==============  =========================================================================
``requests``    rows that are requests
``latency``     rows with times of their own (the rows of an offline batch share theirs)
``stream``      times of tokens: TTFT, TPOT, ITL
``tokens``      token counts of prompts and answers
``generated``   answers that are generated text
``schedule``    a scheduled send time for each request
``slo``         limits of latencies
==============  =========================================================================

The names of a measurement's samples and series are capabilities too; a script may define further ones for its own
metrics. Metrics are computed over the measured rows. If a value is unknown, the function returns None (never 0 or NaN)
and the metric is absent. Metrics are declared in the modules of this package and in ``benchhydra_plugins``;
docs/metrics.md is generated from this table.
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
    """The declaration of a metric. doc: meaning and formula; needs: capabilities that a measurement must have."""

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
    """Declare the metric that the decorated function computes. Raises ConfigError if another module has this name."""

    def declare(compute: Compute) -> Compute:
        if name in _table and _table[name].compute.__module__ != compute.__module__:
            raise ConfigError(f"two metrics are called {name}")
        _table[name] = Metric(name=name, unit=unit, better=better, doc=doc, needs=needs, compute=compute)
        return compute

    return declare


def table() -> dict[str, Metric]:
    """Return all metrics by name, in a fixed order: module by module, the user's plugins last."""
    _discover()
    return {m.name: m for m in sorted(_table.values(), key=lambda declared: declared.compute.__module__)}


def summarize(window: Window, has: Set[str]) -> list[MetricValue]:
    """Compute the metrics whose needs are all in ``has``. Metrics without a value are left out.

    Raises BenchhydraError if a metric computes NaN or infinity, which is a bug of the metric.
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
