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
``price``       the price of the server's GPUs
``items``       answers that are vectors or scores, a number of them each
``images``      prompts with images
``audio``       prompts with recordings
``reasoning``   answers whose reasoning was measured apart
``structured``  answers that must match a schema, a regex or a choice
``tools``       prompts that offer tools
==============  =========================================================================

The names of a measurement's samples and series are capabilities too; a script may define further ones for its own
metrics. Metrics are computed over the measured rows. If a value is unknown, the function returns None (never 0 or NaN)
and the metric is absent. Metrics are declared in the modules of this package and in ``benchhydra_plugins``;
docs/metrics.md is generated from this table.

The table has the percentiles that are always computed. Those that the config asks for besides (``percentiles=[99.9]``)
are made from the families of ``@percentile_family``: ``p99.9_ttft_ms``, as vLLM's benchmark names it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from benchhydra import registry
from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.result import Better, MetricValue
from benchhydra.slo import SloLimit
from benchhydra.window import Window

__all__ = [
    "Better",
    "Compute",
    "Metric",
    "Percentile",
    "Window",
    "declared",
    "limit_family",
    "metric",
    "missing_percentile",
    "not_computed_hint",
    "percentile_family",
    "refuse_not_computed",
    "summarize",
    "table",
]

Compute = Callable[[Window], float | None]
#: (window, percent) -> the percentile; None if it is unknown.
Percentile = Callable[[Window, float], float | None]
#: (window, a limit of its slo) -> a figure about it; None if it is unknown.
LimitFigure = Callable[[Window, SloLimit], float | None]
#: ``p99.9_ttft_ms``: the percent and the family.
PERCENTILE_NAME = re.compile(r"p(\d+(?:\.\d+)?)_(.+)")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The declaration of a metric. doc: meaning and formula; needs: capabilities that a measurement must have."""

    name: str
    unit: str
    better: Better
    doc: str
    needs: tuple[str, ...]
    compute: Compute


@dataclass(frozen=True, kw_only=True)
class _PercentileFamily:
    """A latency of which every percentile can be computed. name: what follows the percent, ``ttft_ms``."""

    name: str
    doc: str
    needs: tuple[str, ...]
    percentile: Percentile

    def metric(self, percent: float) -> Metric:
        def compute(window: Window) -> float | None:
            return self.percentile(window, percent)

        label = _percent_label(percent)
        doc = f"p{label} of the {self.doc}"
        name = f"p{label}_{self.name}"
        return Metric(name=name, unit="ms", better=Better.SMALLER, doc=doc, needs=self.needs, compute=compute)


@dataclass(frozen=True, kw_only=True)
class _LimitFamily:
    """A figure about each limit of ``slo``. prefix: of the metrics' names, ``slo_ratio_``; doc: {} is the limit."""

    prefix: str
    unit: str
    better: Better
    doc: str
    figure: LimitFigure

    def metric(self, limit: str) -> Metric:
        def compute(window: Window) -> float | None:
            limits = [each for each in window.limits if each.name == limit]
            return self.figure(window, limits[0]) if limits else None

        name, doc = f"{self.prefix}{limit}", self.doc.format(limit)
        return Metric(name=name, unit=self.unit, better=self.better, doc=doc, needs=("requests",), compute=compute)


_table: dict[str, Metric] = {}
_limit_families: list[_LimitFamily] = []
_families: dict[str, _PercentileFamily] = {}


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


def percentile_family(name: str, *, doc: str, needs: tuple[str, ...]) -> Callable[[Percentile], Percentile]:
    """Declare that the decorated function computes any percentile of a latency in ms, named ``ttft_ms`` for example."""

    def declare(percentile: Percentile) -> Percentile:
        _families[name] = _PercentileFamily(name=name, doc=doc, needs=needs, percentile=percentile)
        return percentile

    return declare


def limit_family(prefix: str, *, unit: str, better: Better, doc: str) -> Callable[[LimitFigure], LimitFigure]:
    """Declare that the decorated function computes a figure about each limit of ``slo``, named prefix + limit."""

    def declare(figure: LimitFigure) -> LimitFigure:
        _limit_families.append(_LimitFamily(prefix=prefix, unit=unit, better=better, doc=doc, figure=figure))
        return figure

    return declare


def table() -> dict[str, Metric]:
    """Return all metrics by name, in a fixed order: module by module, the user's plugins last."""
    _discover()
    return {m.name: m for m in sorted(_table.values(), key=lambda metric: metric.compute.__module__)}


def declared(name: str) -> Metric | None:
    """Return the metric of this name: one of the table, any percentile, or a figure about a limit. None if unknown."""
    _discover()
    for family in _limit_families:
        if name.startswith(family.prefix):
            return family.metric(name.removeprefix(family.prefix))
    match = PERCENTILE_NAME.fullmatch(name)
    if name in _table or match is None or match[2] not in _families:
        return _table.get(name)
    percent = float(match[1])
    is_canonical = _percent_label(percent) == match[1]
    return _families[match[2]].metric(percent) if is_canonical and 0 < percent < 100 and percent != 50 else None


def missing_percentile(name: str, percentiles: Iterable[float]) -> float | None:
    """Return the percent of a metric that is computed only if it is in ``percentiles`` and is not; None for others."""
    match = PERCENTILE_NAME.fullmatch(name)
    if match is None or declared(name) is None or name in _table:
        return None
    percent = float(match[1])
    return None if percent in percentiles else percent


def refuse_not_computed(key: str, name: str, percentiles: Iterable[float]) -> None:
    """Raise ConfigError if the metric that ``key`` names does not exist, or will not be among those computed."""
    if declared(name) is None:
        raise ConfigError(f"{key}={name}: no such metric", hint=not_computed_hint(name))
    percent = missing_percentile(name, percentiles)
    if percent is not None:
        raise ConfigError(f"{key}: p{percent:g} is not computed", hint=f"percentiles=[{percent:g}]")


def not_computed_hint(name: str) -> str:
    """Return what to type if a metric is asked for that was not computed, or that does not exist."""
    match = PERCENTILE_NAME.fullmatch(name)
    if match and declared(name) and name not in table():
        return f"percentiles=[{match[1]}] computes it"
    if match and f"median_{match[2]}" in table() and float(match[1]) == 50:
        return f"it is called median_{match[2]}"
    near = [other for other in get_close_matches(name, table(), n=2) if other != name]
    return f"did you mean {near[0]}?" if near else "benchhydra metrics"


def summarize(window: Window, has: Set[str], percentiles: Iterable[float] = ()) -> list[MetricValue]:
    """Compute the metrics whose needs are all in ``has``. Metrics without a value are left out.

    percentiles: in percent, those to compute of each latency besides the table's. Raises BenchhydraError if a metric
    computes NaN or infinity, which is a bug of the metric.
    """
    values = []
    for metric in (*table().values(), *_further_percentiles(percentiles), *_limit_figures(window)):
        value = metric.compute(window) if has >= set(metric.needs) else None
        if value is None:
            continue
        if not math.isfinite(value):
            raise BenchhydraError(f"metric {metric.name} computed {value} over {len(window)} requests")
        values.append(MetricValue(key=metric.name, unit=metric.unit, value=float(value), better=metric.better))
    return values


def _further_percentiles(percentiles: Iterable[float]) -> list[Metric]:
    """The metrics of these percentiles that are not in the table; p50 is there as the median."""
    asked = sorted({float(percent) for percent in percentiles} - {50.0})
    metrics = [family.metric(percent) for family in _families.values() for percent in asked]
    return [metric for metric in metrics if metric.name not in _table]


def _limit_figures(window: Window) -> list[Metric]:
    """The figures about each limit of the window's slo."""
    return [family.metric(limit.name) for limit in window.limits for family in _limit_families]


def _percent_label(percent: float) -> str:
    """``99.0`` -> ``99``, ``99.9`` -> ``99.9``."""
    return f"{percent:.10g}"


@cache
def _discover() -> None:
    registry.import_modules(__name__)
    registry.import_plugins()
