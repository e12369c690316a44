"""The time series of a point as MLflow metrics over time.

A metric is named after the series and its labels (``gpu/power_w gpu:0``): MLflow shows metrics with the same text
before the slash as a group. Its step is the second after the first send, its value the mean of the samples in that
second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchhydra.records import Float64, Int64, Records
from benchhydra.series import Series
from benchhydra.tracking.entry import mlflow_key, rounded

#: The most values logged of one series; of more seconds, evenly spaced ones are logged.
MOST_POINTS = 199


_S = 1_000_000_000


@dataclass(frozen=True)
class LoggedSample:
    """One value of a metric. ``step``: whole seconds after the first send; ``timestamp_ms``: ms since the epoch."""

    key: str
    value: float
    timestamp_ms: int
    step: int


def quantity_key(series: Series) -> str:
    """The source of a series and its quantity: ``gpu/power_w``."""
    return mlflow_key(series.name.replace(".", "/", 1))


def series_key(series: Series) -> str:
    """The metric's name: source, quantity and labels of the series. It has one slash, or MLflow would nest groups."""
    labels = (f"{name}:{value}".replace("/", "_") for name, value in sorted(series.labels.items()))
    return mlflow_key(" ".join([quantity_key(series), *labels]))


def samples(all_series: Iterable[Series], first_send_ns: int, first_send_s: float) -> Iterator[LoggedSample]:
    """All values to log. The first send is given in ns on the clock of the series, and in s since the epoch."""
    for series in all_series:
        key, (seconds, means) = series_key(series), second_means(series, first_send_ns)
        rows = _evenly(len(seconds))
        for second, value in zip(seconds[rows].tolist(), means[rows].tolist(), strict=True):
            yield LoggedSample(key, rounded(value), int((first_send_s + second) * 1000), second)


def second_means(series: Series, start_ns: int) -> tuple[Int64, Float64]:
    """(seconds after ``start_ns`` that have samples, mean of the samples in each), both of shape (seconds,)."""
    seconds, starts = np.unique((series.times_ns - start_ns) // _S, return_index=True)
    if not len(series):
        return seconds, np.zeros(0)
    return seconds, np.add.reduceat(series.values, starts) / np.diff(starts, append=len(series))


def measured_span_ns(records: Records | None, all_series: Sequence[Series]) -> tuple[int, int]:
    """(first send, last end of an answer) in ns; without requests, (first sample, last sample); (0, 0) without both."""
    sent = records.sent_ns >= 0 if records is not None else np.zeros(0, dtype=bool)
    if records is not None and sent.any():
        return int(records.sent_ns[sent].min()), int(records.done_ns[sent].max())
    times_ns = [time_ns for series in all_series for time_ns in (series.times_ns[:1], series.times_ns[-1:])]
    ends_ns = np.concatenate(times_ns) if times_ns else np.zeros(0, dtype=np.int64)
    return (int(ends_ns.min()), int(ends_ns.max())) if len(ends_ns) else (0, 0)


def _evenly(length: int) -> Int64:
    """Evenly spaced row numbers, including the first and the last. Shape (at most MOST_POINTS,)."""
    return np.unique(np.linspace(0, length - 1, min(length, MOST_POINTS)).round().astype(np.int64))
