"""The measured window: which requests of a run count, when it began and ended, and statistics of their columns.

``mark_phases`` marks rows as warm-up, measured or cool-down. ``steady=auto`` cuts off the remaining warm-up by MSER-5
(K. P. White, "An effective truncation heuristic for bias reduction in simulation output", SIMULATION 69(6), 1997):
latencies in order of sending are averaged in batches of five, and the cut is at the point that minimizes the standard
error of the mean of the remaining batches. According to the author, a cut beyond the middle means that no steady state
was reached: then nothing is cut, and rules of the verdict report it.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from benchhydra.emulation.load_emulation import LoadEmulation
from benchhydra.emulation.server_model import Arrivals, Latencies
from benchhydra.facts import Facts
from benchhydra.records import Float64, Int64, Phase, Records
from benchhydra.request_times import Floats, RequestTimes
from benchhydra.series import Series
from benchhydra.slo import SloLimit

BATCH = 5
#: Fewest and most requests that are emulated.
LEAST_EMULATED, MOST_EMULATED = 100, 500_000


@dataclass(frozen=True, kw_only=True)
class Window(RequestTimes):
    """The measured rows of a run, with what is derived from them, each computed once.

    every: all rows of the run, including warm-up and cool-down. slo: limits of single requests in ms by column
    (``ttft_ms``). limits: the other limits of the service level objective. samples: values by name that do not belong
    to requests, shape (n,) (times of the starts of a server).
    """

    every: Records
    slo: Mapping[str, float] = field(default_factory=dict)
    limits: tuple[SloLimit, ...] = ()
    facts: Facts = field(default_factory=Facts)
    samples: Mapping[str, Float64] = field(default_factory=dict)
    series: tuple[Series, ...] = ()
    _statistics: dict[str, dict[str, float] | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, records: Records, **more: Any) -> Window:
        """Return the measured window of a run's rows. ``more``: slo, limits, facts, samples, series."""
        rows = records if (records.phase == Phase.MEASURED).all() else records.measured()
        return cls.over(rows, records, **more)

    @classmethod
    def over(cls, rows: Records, every: Records | None = None, **more: Any) -> Window:
        """Return a window of the given rows; ``every``: all rows of the run, by default the same."""
        columns = {column.name: getattr(rows, column.name) for column in dataclasses.fields(Records)}
        return cls(**columns, every=rows if every is None else every, **more)

    def ended_inside(self) -> Window:
        """Return a window of the rows whose answer ended inside this one, with the same limits."""
        return Window.over(self.ended, self.every, slo=self.slo, facts=self.facts)

    @cached_property
    def scheduled(self) -> bool:
        """Whether the rows had a schedule. A closed loop and a load sent all at once have none."""
        return len(self) > 1 and bool(self.scheduled_ns.min() >= 0) and bool(np.ptp(self.scheduled_ns) > 0)

    @cached_property
    def span_ns(self) -> tuple[int, int] | None:
        """(start, end): first send, and last end of an answer or first send of the cool-down. None if it is empty."""
        sent = self.sent_ns[self.sent_ns >= 0]
        if not len(sent):
            return None
        cooling = self.every.sent_ns[(self.every.phase == Phase.COOLDOWN) & (self.every.sent_ns >= 0)]
        end = int(cooling.min()) if len(cooling) else int(self.done_ns.max())
        start = int(sent.min())
        return (start, end) if end > start else None

    @cached_property
    def emulation(self) -> LoadEmulation | None:
        """Emulation of all rows by a model of the server; None if a request failed, or if the arrivals have no law."""
        rows, facts = self.every, self.facts
        if facts["gap_variation"] is None or facts["max_in_flight"] is not None:
            return None
        if not LEAST_EMULATED <= len(rows) <= MOST_EMULATED or not rows.completed.all() or rows.first_ns.min() < 0:
            return None
        order, window = np.argsort(rows.sent_ns, kind="stable"), Window.over(rows)
        sent_s = (rows.sent_ns - rows.sent_ns.min())[order] / 1e9
        columns = window.ttft_ms, window.tpot_ms, window.e2el_ms
        return LoadEmulation(
            Arrivals(sent_s, *(tokens[order].astype(float) for tokens in (rows.prompt_tokens, rows.output_tokens))),
            Latencies(*(column[order] for column in columns)),
            rate=facts["offered_rps"] if facts["stationary"] else None,
            gap_variation=facts["gap_variation"],
            seed=zlib.crc32(sent_s.tobytes()),
        )

    @cached_property
    def duration_s(self) -> float | None:
        """Length of the window; None if it is empty."""
        return None if self.span_ns is None else (self.span_ns[1] - self.span_ns[0]) / 1e9

    @cached_property
    def ended(self) -> Records:
        """Completed rows whose answer ended inside the window, including warm-up and cool-down rows."""
        start, end = self.span_ns or (0, -1)
        done = self.every.done_ns
        return self.every.where(self.every.completed & (done >= start) & (done <= end))

    @cached_property
    def in_flight(self) -> tuple[float, int] | None:
        """Time-weighted mean and maximum of the number of requests in flight inside the window."""
        if self.span_ns is None:
            return None
        start, end = self.span_ns
        sent = self.every.sent_ns >= 0
        starts_ns, ends_ns = (np.clip(t[sent], start, end) for t in (self.every.sent_ns, self.every.done_ns))
        inside = starts_ns < ends_ns
        times_ns = np.concatenate((ends_ns[inside], starts_ns[inside]))
        steps = np.repeat((-1, 1), inside.sum())
        most = np.cumsum(steps[np.argsort(times_ns, kind="stable")]).max(initial=0)
        return float((ends_ns - starts_ns).sum() / (end - start)), int(most)

    def statistics(self, of: str) -> dict[str, float] | None:
        """Return mean, median, std, p90, p95, p99, max of a derived column; None if all its values are NaN.

        Percentiles are numpy's default: linear interpolation between order statistics. std divides by n.
        """
        if of not in self._statistics:
            self._statistics[of] = _statistics(getattr(self, of))
        return self._statistics[of]

    def percentile(self, of: str, percent: float) -> float | None:
        """Return a percentile of a derived column, as ``statistics`` does; None if all its values are NaN."""
        values = getattr(self, of)
        measured = values[~np.isnan(values)]
        return float(np.percentile(measured, percent)) if len(measured) else None


def mark_phases(records: Records, warmup_s: float, cooldown_s: float, steady: str = "fixed") -> Records:
    """Return the rows with phases set: first and last seconds of sending; with steady="auto" also the MSER-5 cut."""
    sent = started_ns(records)
    phase = np.full(len(records), Phase.MEASURED, dtype=np.int32)
    if len(records):
        phase[sent < sent.min() + warmup_s * 1e9] = Phase.WARMUP
        if cooldown_s > 0:
            phase[sent > sent.max() - cooldown_s * 1e9] = Phase.COOLDOWN
    marked = dataclasses.replace(records, phase=phase)
    return _trim_start(marked, sent) if steady == "auto" else marked


def started_ns(records: Records) -> Int64:
    """Return the time when each row was sent, or scheduled if it was never sent. Shape (n,)."""
    return np.where(records.sent_ns >= 0, records.sent_ns, records.scheduled_ns)


def mser5(values: Float64) -> int:
    """Return how many leading values to cut; 0 if the best cut lies beyond the middle or there are under 50 values."""
    batches = values[: len(values) // BATCH * BATCH].reshape(-1, BATCH).mean(axis=1)
    if len(batches) < 10:
        return 0
    remaining = np.arange(len(batches), 0, -1)
    tail_sum = np.cumsum(batches[::-1])[::-1]
    tail_squares = np.cumsum((batches**2)[::-1])[::-1]
    squared_error = ((tail_squares - tail_sum**2 / remaining) / remaining**2)[:-BATCH]
    cut = int(np.argmin(squared_error))
    return cut * BATCH if cut < len(batches) / 2 else 0


def _trim_start(records: Records, sent: Int64) -> Records:
    """Mark rows before the MSER-5 cut as warm-up; the cut is the later of those of TTFT and E2E latency."""
    rows = np.flatnonzero((records.phase == Phase.MEASURED) & records.completed & (records.sent_ns >= 0))
    rows = rows[np.argsort(sent[rows], kind="stable")]
    window = Window.over(records)
    e2el_ms = window.e2el_ms[rows]
    first_ms = np.where(np.isnan(window.ttft_ms[rows]), e2el_ms, window.ttft_ms[rows])
    cut = max(mser5(first_ms), mser5(e2el_ms)) if len(rows) else 0
    phase = records.phase.copy()
    if cut:
        phase[(phase == Phase.MEASURED) & (sent < sent[rows[cut]])] = Phase.WARMUP
    return dataclasses.replace(records, phase=phase)


def _statistics(values: Floats) -> dict[str, float] | None:
    measured = values[~np.isnan(values)]
    if not len(measured):
        return None
    median, p90, p95, p99, maximum = np.percentile(measured, (50, 90, 95, 99, 100)).tolist()
    mean, std = float(measured.mean(dtype=np.float64)), float(measured.std(dtype=np.float64))
    return {"mean": mean, "median": median, "std": std, "p90": p90, "p95": p95, "p99": p99, "max": maximum}
