"""How far a point is from each limit of the root key ``slo``, and how certain that is.

A search reads only these metrics, so it needs no limits of its own. For each limit NAME:

``slo_ratio_NAME``
    At most 1 means that the limit is met. For a percentile, ``share`` and ``failed_fraction``: the fraction of values
    beyond the limit / the fraction that may lie beyond it (0.01 for p99). It has less bias than the percentile itself,
    because a mean has no bias in small samples. For a mean: mean / limit. For a lower limit: limit / value.
``slo_samples_NAME``
    The number of independent values that are as certain as those measured: latencies in a queue resemble those of their
    neighbours. It is their number / the integrated autocorrelation time, which is estimated by C. J. Geyer's initial
    monotone sequence ("Practical Markov Chain Monte Carlo", Statistical Science 7, 1992). For a mean it is divided by
    the squared coefficient of variation, so that 1 / samples is the relative variance of the mean.
``slo_allowed_NAME``
    The fraction that may lie beyond the limit.

``slo_limit_NAME``
    The limit.

The first part of the window is left out: a server that begins empty is faster than in its steady state.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

from benchhydra import metrics
from benchhydra.errors import ConfigError
from benchhydra.metrics import PERCENTILE_NAME, limit_family, metric
from benchhydra.records import Float64
from benchhydra.result import Better
from benchhydra.slo import FAILED_FRACTION, SHARE, SloLimit
from benchhydra.window import Window

#: Limits of single requests; they make goodput.
REQUEST_LIMITS = ("ttft_ms", "tpot_ms", "e2el_ms")
LATENCIES = (*REQUEST_LIMITS, "itl_ms", "scheduled_ttft_ms", "scheduled_e2el_ms")
STATISTICS = ("mean", "median", "p90", "p95", "p99")
WITH_FAILURES = "_with_failures_ms"
#: The part of the window that is left out at its start: this fraction of the requests, or those of the time that so
#: many typical answers take, but never more than ``LONGEST_START``.
START_FRACTION, START_ANSWERS, LONGEST_START = 0.1, 3.0, 1 / 3


def slo_limits(values: Mapping[str, Any]) -> tuple[SloLimit, ...]:
    """Return the limits of a config's ``slo``, without those of single requests. Raises ConfigError.

    values: those that are set, by key; ``p99_9_ttft_ms`` means p99.9.
    """
    limits = tuple(_limit(key, value) for key, value in values.items() if key not in REQUEST_LIMITS)
    if any(limit.name == SHARE for limit in limits) and not any(key in values for key in REQUEST_LIMITS):
        raise ConfigError("slo.share needs limits of single requests", hint="slo.share=0.99 slo.ttft_ms=500")
    return limits


def percentiles_of(limits: tuple[SloLimit, ...]) -> list[float]:
    """Return the percents of the percentiles that limits name: they are computed without ``percentiles``."""
    matches = [PERCENTILE_NAME.fullmatch(limit.name) for limit in limits]
    return [float(match[1]) for match in matches if match]


def _limit(key: str, value: Any) -> SloLimit:
    name = _metric_name(key)
    bound = _number(key, value)
    if name in (SHARE, FAILED_FRACTION):
        if not 0 < bound < 1:
            raise ConfigError(f"slo.{key}={bound:g} must be between 0 and 1", hint=f"slo.{key}={_EXAMPLE[name]}")
        return SloLimit(
            name=name, bound=bound, is_upper=name != SHARE, allowed=bound if name == FAILED_FRACTION else 1 - bound
        )
    declared = metrics.declared(name)
    if declared is None or declared.better is Better.OBSERVATION or name.startswith("slo_"):
        raise ConfigError(f"no such key: slo.{key}", hint=_hint(name))
    if not bound > 0:
        raise ConfigError(f"slo.{key}={bound:g} must be above 0 and finite", hint=f"slo.{key}=200")
    column, allowed = _latency(name)
    return SloLimit(
        name=name,
        bound=bound,
        is_upper=declared.better is Better.SMALLER,
        column=column,
        with_failures=name.endswith(WITH_FAILURES),
        allowed=allowed,
    )


_EXAMPLE = {SHARE: "0.99", FAILED_FRACTION: "0.001"}


def _metric_name(key: str) -> str:
    """``p99_9_ttft_ms`` -> ``p99.9_ttft_ms``: Hydra's keys have no dots inside a part."""
    percent, _, rest = key.partition("_")
    digits, _, name = rest.partition("_")
    return f"{percent}.{digits}_{name}" if percent[1:].isdecimal() and digits.isdecimal() else key


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ConfigError(f"slo.{key}={value} is not a finite number", hint=f"slo.{key}={_EXAMPLE.get(key, '200')}")
    return float(value)


def _latency(name: str) -> tuple[str | None, float | None]:
    """Return (column, allowed fraction) of a limit on a latency; (None, None) of another metric."""
    statistic, _, latency = name.partition("_")
    column = latency.replace(WITH_FAILURES, "_ms")
    if column not in LATENCIES:
        return None, None
    if statistic == "mean":
        return column, None
    percent = 50.0 if statistic == "median" else float(statistic.removeprefix("p"))
    return column, round(1 - percent / 100, 10)


def _hint(name: str) -> str:
    names = [
        *REQUEST_LIMITS,
        SHARE,
        FAILED_FRACTION,
        *(f"{statistic}_{column}" for column in LATENCIES for statistic in STATISTICS),
        *(name for name, metric in metrics.table().items() if metric.better is not Better.OBSERVATION),
    ]
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean slo.{near[0]}?" if near else "slo.p99_ttft_ms=500; benchhydra metrics lists names"


class _Sample(NamedTuple):
    """Values of requests in order of sending, and their weights: fractions beyond a limit, or latencies."""

    values: Float64
    weights: Float64

    @property
    def mean(self) -> float:
        return float(np.average(self.values, weights=self.weights))


class LimitFigures(NamedTuple):
    """How far the values of requests are from a limit. ratio: at most 1 if it is met; samples: independent values."""

    ratio: float
    samples: float


def limit_figures(window: Window, limit: SloLimit) -> LimitFigures | None:
    """Return the figures about a limit on values of requests; None if there are no values, or for another limit."""
    sample = _sample(window, limit) if limit.is_sampled else None
    if sample is None:
        return None
    independent = len(sample.values) / correlation_time(_latencies(window, limit))
    if limit.allowed is not None:
        return LimitFigures(sample.mean / limit.allowed, independent)
    variance = float(sample.values.var())
    return LimitFigures(sample.mean / limit.bound, independent * sample.mean**2 / max(variance, 1e-9 * sample.mean**2))


def _ratio(window: Window, limit: SloLimit) -> float | None:
    if limit.is_sampled:
        figures = limit_figures(window, limit)
        return None if figures is None else figures.ratio
    declared = metrics.declared(limit.name)
    value = None if declared is None else declared.compute(window)
    if value is None or (value <= 0 and not limit.is_upper):
        return None
    return value / limit.bound if limit.is_upper else limit.bound / value


def _samples(window: Window, limit: SloLimit) -> float | None:
    figures = limit_figures(window, limit)
    return None if figures is None else figures.samples


def _sample(window: Window, limit: SloLimit) -> _Sample | None:
    """Return the steady part's values that the limit is on; None if there are none."""
    rows = steady_rows(window)
    ended = window.completed[rows] | window.failed[rows]
    rows = rows[ended]
    failed = window.failed[rows]
    if limit.name == FAILED_FRACTION:
        return _fractions(failed)
    if limit.name == SHARE:
        beyond = failed.copy()
        for column, bound in window.slo.items():
            beyond |= getattr(window, column)[rows] > bound
        return _fractions(beyond)
    if limit.column == "itl_ms":
        return _gap_sample(window, rows, limit)
    values = getattr(window, limit.column or "")[rows]
    present = ~np.isnan(values) | (failed & limit.with_failures)
    if limit.allowed is None:
        return _Sample(values[present], np.ones(int(present.sum()))) if present.any() else None
    return _fractions(((values > limit.bound) | (failed & limit.with_failures))[present])


def _gap_sample(window: Window, rows: Any, limit: SloLimit) -> _Sample | None:
    """Return each request's mean gap, or its fraction of gaps beyond the limit, weighted by its number of gaps."""
    counts = np.diff(window.gap_offsets)
    gaps_ms = window.gaps_ns * 1e-6
    values = gaps_ms if limit.allowed is None else gaps_ms > limit.bound
    sums = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))[window.gap_offsets]
    rows = rows[(counts[rows] > 0) & window.completed[rows]]
    if not len(rows):
        return None
    return _Sample(np.diff(sums)[rows] / counts[rows], counts[rows].astype(np.float64))


def _fractions(beyond: Any) -> _Sample | None:
    return _Sample(beyond.astype(np.float64), np.ones(len(beyond))) if len(beyond) else None


def _latencies(window: Window, limit: SloLimit) -> Float64:
    """Return the steady part's latencies whose correlation is that of the values beyond the limit."""
    rows = steady_rows(window)
    column = limit.column if limit.column not in (None, "itl_ms") else "e2el_ms"
    values: Float64 = getattr(window, column or "")[rows]
    return np.asarray(values[~np.isnan(values)])


def steady_rows(window: Window) -> Any:
    """Return the indices of the rows that were sent, in order of sending, without the start."""
    rows = np.flatnonzero(window.sent_ns >= 0)
    rows = rows[np.argsort(window.sent_ns[rows], kind="stable")]
    if len(rows) < 3:
        return rows
    e2el_ms = window.e2el_ms[rows]
    typical_ns = float(np.nanmedian(e2el_ms)) * 1e6 if not np.isnan(e2el_ms).all() else 0.0
    starting = window.sent_ns[rows] < window.sent_ns[rows[0]] + START_ANSWERS * typical_ns
    cut = min(max(int(START_FRACTION * len(rows)), int(starting.sum())), int(LONGEST_START * len(rows)))
    return rows[cut:]


def correlation_time(values: Float64) -> float:
    """Return the integrated autocorrelation time of values in order, in values; at least 1."""
    count = len(values)
    deviations = values - values.mean() if count else values
    variance = float(deviations @ deviations) / max(count, 1)
    if count < 4 or variance <= 1e-18:
        return 1.0
    spectrum = np.fft.rfft(deviations, 1 << (2 * count - 1).bit_length())
    correlations = np.fft.irfft(spectrum * np.conj(spectrum))[: count // 2] / (count * variance)
    pairs = correlations[: len(correlations) // 2 * 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    positive = np.minimum.accumulate(pairs[: ends[0] if len(ends) else len(pairs)])
    return max(1.0, 2 * float(positive.sum()) - 1)


limit_family("slo_ratio_", unit="ratio", better=Better.SMALLER, doc="ratio to the limit slo.{}; at most 1: met")(_ratio)
limit_family("slo_samples_", unit="values", better=Better.OBSERVATION, doc="independent values behind slo_ratio_{}")(
    _samples
)
limit_family("slo_limit_", unit="as limited", better=Better.OBSERVATION, doc="the value of slo.{}")(
    lambda window, limit: limit.bound
)
limit_family(
    "slo_allowed_", unit="fraction", better=Better.OBSERVATION, doc="fraction of values that may lie beyond slo.{}"
)(lambda window, limit: limit.allowed)


@metric(
    "slo_decision",
    unit="ratio",
    better=Better.OBSERVATION,
    doc="of a load that load.stop_when_decided ended early: 1: all limits of slo are met, 0: one is missed",
    needs=("requests",),
)
def slo_decision(window: Window) -> float | None:
    decision = window.facts["slo_decision"]
    return None if decision is None else float(decision == "met")
