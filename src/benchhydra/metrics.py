"""The metric table: one declaration a metric; results, MLflow, tables and docs loop over it.

``@metric`` declares; ``summarize`` computes. Metrics are computed over the measured rows. A metric that is unknown is
absent: its function returns None, never 0 and never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.records import Records


class Better(StrEnum):
    """In which direction a metric improves (nm-vllm's three tags)."""

    BIGGER = "BiggerIsBetter"
    SMALLER = "SmallerIsBetter"
    OBSERVATION = "Observation"


Compute = Callable[[Records], float | None]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric: ``name`` and ``unit`` as they stand everywhere, ``doc`` with its formula, the scripts that report it."""

    name: str
    unit: str
    better: Better
    doc: str
    scripts: tuple[str, ...]
    compute: Compute


@dataclass(frozen=True, kw_only=True)
class MetricValue:
    """One measured value with its unit and direction."""

    key: str
    unit: str
    value: float
    better: Better


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


def summarize(records: Records, script: str) -> list[MetricValue]:
    """The metrics of one script over the measured rows. A metric whose value is unknown is left out.

    Raises BenchhydraError where a metric computes NaN or infinity: that is a defect of the metric.
    """
    rows = records.measured()
    found = []
    for declared in _table.values():
        if script not in declared.scripts:
            continue
        value = declared.compute(rows)
        if value is None:
            continue
        if not math.isfinite(value):
            raise BenchhydraError(f"metric {declared.name} computed {value} over {len(rows)} requests")
        found.append(MetricValue(key=declared.name, unit=declared.unit, value=float(value), better=declared.better))
    return found
