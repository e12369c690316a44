"""The metric table: one declaration a metric; results, MLflow, tables and docs loop over it.

``@metric`` declares; ``summarize`` computes. Metrics are computed over the measured rows. A metric that is unknown is
absent: its function returns None, never 0 and never NaN. This is the only place where nanoseconds become
milliseconds. The built-in metrics are in ``_builtin``; docs/metrics.md is written from this table.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from benchhydra.errors import BenchhydraError, ConfigError
from benchhydra.records import Mask, Phase, Records, Status

Float64 = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
SLO_KEYS = ("ttft_ms", "tpot_ms", "e2el_ms")


class Better(StrEnum):
    """In which direction a metric improves (nm-vllm's three tags)."""

    BIGGER = "BiggerIsBetter"
    SMALLER = "SmallerIsBetter"
    OBSERVATION = "Observation"


@dataclass(frozen=True, kw_only=True)
class MetricContext:
    """What metrics may know beside the rows. slo: limits by ``SLO_KEYS``; offered_rps: of the whole schedule."""

    slo: Mapping[str, float] = field(default_factory=dict)
    offered_rps: float | None = None


@dataclass(frozen=True, kw_only=True)
class Window(Records):
    """The measured rows, with what is derived from them computed once. All arrays are float64 milliseconds.

    every: all rows of the run, of which these are the measured ones.
    """

    every: Records
    context: MetricContext
    _statistics: dict[str, dict[str, float] | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, records: Records, context: MetricContext) -> Window:
        """The measured window of a run's rows."""
        rows = records if (records.phase == Phase.MEASURED).all() else records.measured()
        return cls.over(rows, records, context)

    @classmethod
    def over(cls, rows: Records, every: Records, context: MetricContext) -> Window:
        """A window of chosen rows."""
        columns = {column.name: getattr(rows, column.name) for column in dataclasses.fields(Records)}
        return cls(**columns, every=every, context=context)

    @cached_property
    def scheduled(self) -> bool:
        """Whether the rows had a schedule: a closed loop, and everything at once, have none."""
        return len(self) > 1 and bool(self.scheduled_ns.min() >= 0) and bool(np.ptp(self.scheduled_ns) > 0)

    @cached_property
    def e2el_ms(self) -> Float64:
        """Last chunk with text (or, where no chunk had any, the end of the answer) less sent; NaN: not completed."""
        return self._since(self.sent_ns, self._end_ns)

    @cached_property
    def ttft_ms(self) -> Float64:
        """First chunk with text less sent; NaN where there is none."""
        return self._since(self.sent_ns, self.first_ns)

    @cached_property
    def tpot_ms(self) -> Float64:
        """(last - first) / (output tokens - 1); NaN for answers of fewer than two tokens, or of one chunk."""
        return np.asarray(self._since(self.first_ns, self.last_ns) / self.decode_steps)

    @cached_property
    def itl_ms(self) -> Floats:
        """Gaps between the chunks of completed rows, pooled; shape (gaps,)."""
        done = self.completed
        gaps = self.gaps_ns if done.all() else self.gaps_ns[np.repeat(done, np.diff(self.gap_offsets))]
        return gaps * np.float32(1e-6)

    @cached_property
    def scheduled_ttft_ms(self) -> Float64:
        """First chunk with text less scheduled."""
        return self._since(self.scheduled_ns, self.first_ns)

    @cached_property
    def scheduled_e2el_ms(self) -> Float64:
        """Last chunk with text less scheduled."""
        return self._since(self.scheduled_ns, self._end_ns)

    @cached_property
    def client_lag_ms(self) -> Float64:
        """Sent less scheduled, of every row that was sent."""
        sent = self.sent_ns >= 0
        return np.asarray((self.sent_ns[sent] - self.scheduled_ns[sent]) / 1e6)

    @cached_property
    def span_ns(self) -> tuple[int, int] | None:
        """The window: from its first send to its last end of an answer, or to the first send of a cool-down."""
        sent = self.sent_ns[self.sent_ns >= 0]
        if not len(sent):
            return None
        cooling = self.every.sent_ns[(self.every.phase == Phase.COOLDOWN) & (self.every.sent_ns >= 0)]
        end = int(cooling.min()) if len(cooling) else int(self.done_ns.max())
        start = int(sent.min())
        return (start, end) if end > start else None

    @cached_property
    def duration_s(self) -> float | None:
        """Length of the window."""
        return None if self.span_ns is None else (self.span_ns[1] - self.span_ns[0]) / 1e9

    @cached_property
    def ended(self) -> Records:
        """Completed rows, warm-up and cool-down among them, whose answer ended inside the window."""
        start, end = self.span_ns or (0, -1)
        done = self.every.done_ns
        return self.every.where(self.every.completed & (done >= start) & (done <= end))

    @cached_property
    def in_flight(self) -> tuple[float, int] | None:
        """Mean over time and maximum of the requests under way inside the window."""
        if self.span_ns is None:
            return None
        start, end = self.span_ns
        sent = self.every.sent_ns >= 0
        began, finished = (np.clip(t[sent], start, end) for t in (self.every.sent_ns, self.every.done_ns))
        under_way = began < finished
        times = np.concatenate((finished[under_way], began[under_way]))
        steps = np.repeat((-1, 1), under_way.sum())
        most = np.cumsum(steps[np.argsort(times, kind="stable")]).max(initial=0)
        return float((finished - began).sum() / (end - start)), int(most)

    def statistics(self, of: str) -> dict[str, float] | None:
        """mean, median, std, p90, p95, p99, max of a derived column; None where it has no value.

        Percentiles are numpy's default: linear interpolation between order statistics. std is the sample's own (n).
        """
        if of not in self._statistics:
            self._statistics[of] = _statistics(getattr(self, of))
        return self._statistics[of]

    @property
    def _end_ns(self) -> npt.NDArray[np.int64]:
        return np.where(self.last_ns >= 0, self.last_ns, self.done_ns)

    def _since(self, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> Float64:
        known = self.completed & (start >= 0) & (end >= 0)
        return np.where(known, (end - start) / 1e6, np.nan)


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


def summarize(records: Records, script: str, context: MetricContext | None = None) -> list[MetricValue]:
    """The metrics of one script over the measured rows. A metric whose value is unknown is left out.

    Raises BenchhydraError where a metric computes NaN or infinity: that is a defect of the metric.
    """
    window = Window.of(records, context or MetricContext())
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


def _statistics(values: Floats) -> dict[str, float] | None:
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    median, p90, p95, p99, most = np.percentile(known, (50, 90, 95, 99, 100)).tolist()
    mean, std = float(known.mean(dtype=np.float64)), float(known.std(dtype=np.float64))
    return {"mean": mean, "median": median, "std": std, "p90": p90, "p95": p95, "p99": p99, "max": most}


from benchhydra.metrics import _builtin  # noqa: E402, F401 - the built-in metrics declare themselves in the table above
