"""Estimates what buffering on the way changed: rules with a fraction as their limit miss a few streams in the tail.

A stream that begins with several chunks at once, and goes on like that, was held back: its first token was generated
some steps before it arrived. How long a step takes is known from the rest of the stream, or from other streams. So the
figures without buffering can be estimated; they must not differ. An engine that generates several tokens in a step is
not meant: its first token comes from the prefill, alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchhydra.records import Float64, Records
from benchhydra.request_times import Floats
from benchhydra.result import Reason
from benchhydra.validity import RunEvidence, rule, suspect
from benchhydra.validity.streams import (
    BURST_FRACTION,
    LEAST_PERIOD_FRACTION,
    LEAST_PERIOD_MS,
    NEAR_ZERO,
    STALL_FRACTION,
    bursts,
    one_piece,
)
from benchhydra.window import Window

#: Chunks that arrive together have gaps below this, and below a fraction of the stream's mean gap ...
TOGETHER_MS = 0.1
#: ... or below this (20,000 tokens/s for one request): they are read from one packet, or from several in a row.
IMPOSSIBLE_GAP_MS = 0.05
#: The estimate is not exact: figures are reported that differ by this fraction of 1 ms + 2 %.
MARGIN = 0.75
STATISTICS: dict[str, Callable[[Floats], Any]] = {
    "mean": np.mean,
    "median": np.median,
    "p99": lambda values: np.percentile(values, 99),
}


@dataclass(frozen=True, kw_only=True)
class Delays:
    """How long streams were held back, each of shape (n,). late_ms: 0 for most; step_ms: time between two steps."""

    late_ms: Float64
    step_ms: Float64

    def estimated_itl_ms(self, streams: Window) -> Floats:
        """Return the gaps of the streams without buffering, shape (gaps,)."""
        counts, late = np.diff(streams.gap_offsets), self.late_ms > 0
        itl_ms = streams.gaps_ns * np.float32(1e-6)
        itl_ms[np.repeat(late, counts)] = np.repeat(self.step_ms[late], counts[late])
        return itl_ms


@rule("buffering")
def buffering(evidence: RunEvidence) -> Iterator[Reason]:
    """If some streams were held back until several chunks were there, the figures must not differ by that."""
    if any(one_piece(evidence)) or any(bursts(evidence)):
        return  # they say more
    window = evidence.window
    streams = Window.over(window.where(window.completed & (window.chunks > 1)))
    if not len(streams):
        return
    delays = delays_of(streams, evidence.facts["client_loop_stall_p99_ms"] or 0.0)
    count = int((delays.late_ms > 0).sum())
    if not count:
        return
    single_ms = window.ttft_ms[window.completed & (window.chunks == 1)]
    pairs = {
        "TTFT": (streams.ttft_ms, np.maximum(streams.ttft_ms - delays.late_ms, 0.0), single_ms),
        "TPOT": (streams.tpot_ms, (streams.decode_ms + delays.late_ms) / _steps(streams), np.zeros(0)),
        "ITL": (streams.itl_ms, delays.estimated_itl_ms(streams), np.zeros(0)),
    }
    for name, (measured_ms, estimated_ms, others_ms) in pairs.items():
        difference = _difference(np.concatenate((measured_ms, others_ms)), np.concatenate((estimated_ms, others_ms)))
        if difference:
            text = f"{count} of {len(streams)} streams began with several chunks at once: {name} has a {difference}"
            yield suspect("buffering", f"{text} without that; look for a proxy that gathers events")
            return


def delays_of(streams: Window, stall_ms: float) -> Delays:
    """Return how long the first chunks of streams of at least two chunks were held back.

    Delays that a stall of the client's own loop may explain are not counted.
    """
    counts = np.diff(streams.gap_offsets)
    parts = [_gathered_gaps(block) for block in streams.blocks()]
    sums_ms = np.concatenate([part.sum_ms for part in parts])
    leading = np.concatenate([part.leading for part in parts])
    late = (np.concatenate([part.count for part in parts]) >= BURST_FRACTION * counts) & (leading > 0)
    # after the first burst of k chunks, the other n - k take (n - k) steps
    later_chunks = counts - leading
    step_ms = np.where(later_chunks > 0, sums_ms / np.maximum(later_chunks, 1), np.nan)
    usual_ms = np.nanmedian(step_ms) if not np.isnan(step_ms).all() else np.nan
    unknown_ms = np.where(np.isnan(usual_ms), streams.ttft_ms / (leading + 1), usual_ms)
    step_ms = np.where(np.isnan(step_ms), unknown_ms, step_ms)
    late &= stall_ms <= STALL_FRACTION * (leading + 1) * step_ms
    return Delays(late_ms=np.where(late, leading * step_ms, 0.0), step_ms=step_ms)


@dataclass(frozen=True, kw_only=True)
class _GatheredGaps:
    """Gaps near 0 of streams, each of shape (n,): their number, and how many of them begin the stream.

    sum_ms: the sum of all gaps of the stream.
    """

    sum_ms: Float64
    count: npt.NDArray[np.int64]
    leading: npt.NDArray[np.int64]


def _gathered_gaps(streams: Records) -> _GatheredGaps:
    counts, starts = np.diff(streams.gap_offsets), streams.gap_offsets[:-1]
    gaps_ms = streams.gaps_ns.astype(np.float64) / 1e6
    stream_of_gap = np.repeat(np.arange(len(streams)), counts)
    sum_ms = np.add.reduceat(gaps_ms, starts)
    shortest_ms = np.maximum(np.minimum(NEAR_ZERO * sum_ms / counts, TOGETHER_MS), IMPOSSIBLE_GAP_MS)
    together = gaps_ms < shortest_ms[stream_of_gap]
    return _GatheredGaps(
        sum_ms=sum_ms,
        count=np.add.reduceat(together.astype(np.int64), starts),
        leading=_leading(together, counts, starts, stream_of_gap),
    )


def _leading(
    together: npt.NDArray[np.bool_],
    counts: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    stream_of_gap: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Return how many gaps at the start of each stream are near 0, shape (n,)."""
    position = np.arange(len(together)) - starts[stream_of_gap]
    return np.asarray(np.minimum.reduceat(np.where(together, counts[stream_of_gap], position), starts))


def _steps(streams: Window) -> Float64:
    """Return the output tokens after the first, shape (n,); NaN for fewer than two."""
    return np.where(streams.output_tokens > 1, streams.output_tokens - 1, np.nan)


def _difference(measured_ms: Floats, estimated_ms: Floats) -> str:
    """Return in words the first statistic that differs by too much; "" if none does."""
    measured_ms, estimated_ms = (values[~np.isnan(values)] for values in (measured_ms, estimated_ms))
    if not len(measured_ms) or not len(estimated_ms):
        return ""
    for name, statistic in STATISTICS.items():
        measured, estimated = float(statistic(measured_ms)), float(statistic(estimated_ms))
        if abs(measured - estimated) > MARGIN * (LEAST_PERIOD_MS + LEAST_PERIOD_FRACTION * estimated):
            return f"{name} of {measured:.1f} ms, about {estimated:.1f} ms"
    return ""
