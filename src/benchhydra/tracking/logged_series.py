"""The time series of a point as MLflow metrics over time.

A metric is named after the series and its labels (``gpu.power_w/gpu:0``); its step is the second after the first send.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchhydra.records import Int64, Records
from benchhydra.series import Series
from benchhydra.tracking.entry import mlflow_key

#: The most values logged of one series; longer series are thinned out evenly.
MOST_POINTS = 199


@dataclass(frozen=True)
class LoggedSample:
    """One value of a metric. ``step``: whole seconds after the first send; ``timestamp_ms``: ms since the epoch."""

    key: str
    value: float
    timestamp_ms: int
    step: int


def series_key(series: Series) -> str:
    """The metric's name: the series' name and its labels."""
    labels = " ".join(f"{name}:{value}" for name, value in sorted(series.labels.items()))
    return mlflow_key(f"{series.name}/{labels}" if labels else series.name)


def samples(all_series: Iterable[Series], first_send_ns: int, first_send_s: float) -> Iterator[LoggedSample]:
    """All values to log. The first send is given in ns on the clock of the series, and in s since the epoch."""
    for series in all_series:
        key, rows = series_key(series), _evenly(len(series))
        seconds = (series.times_ns[rows] - first_send_ns) / 1e9
        for second, value in zip(seconds.tolist(), series.values[rows].tolist(), strict=True):
            yield LoggedSample(key, value, int((first_send_s + second) * 1000), math.floor(second))


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
