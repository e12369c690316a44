"""The columns that are derived from the times of requests: TTFT, TPOT, ITL, E2E latency.

Only this module has their formulas and converts nanoseconds to milliseconds: metrics, rules, series, plots and reports
use its columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from benchhydra.records import Float64, Records

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class RequestTimes(Records):
    """Rows with derived columns, each computed once: float64 milliseconds, by row unless they say otherwise."""

    @cached_property
    def e2el_ms(self) -> Float64:
        """Last chunk with text or finish reason (or the end of a whole answer) - sent; NaN if not completed."""
        return self._since(self.sent_ns, self._end_ns)

    @cached_property
    def ttft_ms(self) -> Float64:
        """First chunk with text - sent; NaN if there is none."""
        return self._since(self.sent_ns, self.first_ns)

    @cached_property
    def ttfat_ms(self) -> Float64:
        """First chunk of the answer itself, after the reasoning - sent; NaN if there is none or it is unknown."""
        reasoning = self.labels.get("reasoning_chunks")
        if reasoning is None:
            return np.full(len(self), np.nan)
        answered = (reasoning >= 0) & (reasoning < self.chunks)
        sums_ns = np.concatenate(([0.0], np.cumsum(self.gaps_ns, dtype=np.float64)))
        starts = self.gap_offsets[:-1]
        reasoning_ns = sums_ns[starts + np.where(answered, reasoning, 0)] - sums_ns[starts]
        return np.where(answered, self.ttft_ms + reasoning_ns / 1e6, np.nan)

    @cached_property
    def tpot_ms(self) -> Float64:
        """(Last chunk or finish reason - first chunk) / (output tokens - 1); NaN for under two tokens or chunks."""
        return np.asarray(self.decode_ms / self.decode_steps)

    @cached_property
    def decode_ms(self) -> Float64:
        """Last chunk with text or finish reason - first chunk with text; NaN if there is none."""
        return self._since(self.first_ns, self.last_ns)

    @cached_property
    def itl_ms(self) -> Floats:
        """Gaps between the chunks of completed rows, pooled; shape (gaps,)."""
        done = self.completed
        gaps = self.gaps_ns if done.all() else self.gaps_ns[np.repeat(done, np.diff(self.gap_offsets))]
        return gaps * np.float32(1e-6)

    @cached_property
    def scheduled_ttft_ms(self) -> Float64:
        """First chunk with text - scheduled."""
        return self._since(self.scheduled_ns, self.first_ns)

    @cached_property
    def scheduled_e2el_ms(self) -> Float64:
        """Last chunk with text - scheduled."""
        return self._since(self.scheduled_ns, self._end_ns)

    @cached_property
    def client_lag_ms(self) -> Float64:
        """Sent - scheduled, for the rows that were sent."""
        sent = self.sent_ns >= 0
        return np.asarray((self.sent_ns[sent] - self.scheduled_ns[sent]) / 1e6)

    @property
    def _end_ns(self) -> npt.NDArray[np.int64]:
        return np.where(self.last_ns >= 0, self.last_ns, self.done_ns)

    def _since(self, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> Float64:
        timed = self.completed & (start >= 0) & (end >= 0)
        return np.where(timed, (end - start) / 1e6, np.nan)
