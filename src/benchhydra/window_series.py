"""Summaries of series over a measured window: means, maxima, growth of counters.

A summary is None if the series does not reach over the window: a probe that stopped in its middle has no figure for it.
``span_ns`` is ``Window.span_ns``. Series that differ only in their labels (one a GPU) are summed up or averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchhydra.records import Float64
from benchhydra.series import Series

Span = tuple[int, int]
#: A gauge may end this many of its own intervals before the window does: a sample may be late.
LATE_INTERVALS = 2.0


def named(series: Iterable[Series], name: str, **labels: str) -> list[Series]:
    """Return the series of a name whose labels contain ``labels``."""
    return [s for s in series if s.name == name and all(s.labels.get(key) == value for key, value in labels.items())]


def growth(counters: Sequence[Series], span_ns: Span | None) -> float | None:
    """Return by how much cumulative counters grew inside the window, in all; straight lines between samples.

    None without counters, if one of them begins after the window's start or ends before its end, or if one falls inside
    it (the server was restarted).
    """
    if span_ns is None or not counters or not all(_encloses(counter, span_ns) for counter in counters):
        return None
    if any(falls(counter, span_ns) for counter in counters):
        return None
    return float(sum(np.diff(np.interp(span_ns, s.times_ns, s.values))[0] for s in counters))


def mean(gauges: Sequence[Series], span_ns: Span | None) -> float | None:
    """Return the mean of the samples inside the window, over all gauges alike; None if one does not reach over it."""
    inside = _inside(gauges, span_ns)
    return None if inside is None else float(np.mean([values.mean() for values in inside]))


def highest(gauges: Sequence[Series], span_ns: Span | None) -> float | None:
    """Return the highest sample inside the window, of all gauges; None if one does not reach over it."""
    inside = _inside(gauges, span_ns)
    return None if inside is None else float(max(values.max() for values in inside))


def total_of_means(gauges: Sequence[Series], span_ns: Span | None) -> float | None:
    """Return the sum of the gauges' means inside the window; None if one does not reach over it."""
    inside = _inside(gauges, span_ns)
    return None if inside is None else float(sum(values.mean() for values in inside))


def samples_inside(gauges: Sequence[Series], span_ns: Span | None) -> Mapping[str, Float64]:
    """Return the samples inside the window by the gauge's labels in words (``gpu 0``), if there are any."""
    if span_ns is None:
        return {}
    words = [" ".join(f"{key} {value}" for key, value in sorted(gauge.labels.items())) for gauge in gauges]
    samples = {word: _between(gauge, span_ns) for word, gauge in zip(words, gauges, strict=True)}
    return {word: values for word, values in samples.items() if len(values)}


def falls(counter: Series, span_ns: Span) -> bool:
    """Return whether a counter is lower at one sample than before, between the samples that enclose a span."""
    first = max(0, int(np.searchsorted(counter.times_ns, span_ns[0], side="right")) - 1)
    last = int(np.searchsorted(counter.times_ns, span_ns[1], side="left"))
    return bool((np.diff(counter.values[first : last + 1]) < 0).any())


def _inside(gauges: Sequence[Series], span_ns: Span | None) -> list[Float64] | None:
    if span_ns is None or not gauges or not all(_reaches(gauge, span_ns) for gauge in gauges):
        return None
    inside = [_between(gauge, span_ns) for gauge in gauges]
    return inside if all(len(values) for values in inside) else None


def _between(gauge: Series, span_ns: Span) -> Float64:
    return gauge.values[(gauge.times_ns >= span_ns[0]) & (gauge.times_ns <= span_ns[1])]


def _encloses(counter: Series, span_ns: Span) -> bool:
    return len(counter) > 0 and counter.times_ns[0] <= span_ns[0] and counter.times_ns[-1] >= span_ns[1]


def _reaches(gauge: Series, span_ns: Span) -> bool:
    """Return whether a gauge goes on to the window's end. Rates begin one interval late, so its start is not asked."""
    if len(gauge) < 2:
        return False
    late_ns = LATE_INTERVALS * float(np.median(np.diff(gauge.times_ns)))
    return bool(gauge.times_ns[0] <= span_ns[0] + late_ns and gauge.times_ns[-1] >= span_ns[1] - late_ns)
