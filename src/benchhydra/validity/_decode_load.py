"""How loaded a server is that decodes all requests together, from the time between chunks and the streams in flight.

An engine with continuous batching takes every request at once, and decodes more slowly the more there are. If it is
overloaded, requests of a short run have nearly the same latency, so their order shows nothing; but what is in flight
grows until the last one was sent, and with it the time between chunks. If the latter is a + b * (streams in flight),
the server cannot send more than 1 / b chunks per second to all streams together, however many there are. So

    finished / offered = 1 / (b * offered requests/s * gaps between the chunks of a request)

The line is fitted to the means of batches in order of time, as ``window.rise`` does, while requests are being sent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchhydra.records import Float64, Int64, Records
from benchhydra.validity.window import Floats, batch_means, line

BATCHES = 20
#: Fewer gaps, or streams of fewer chunks, are not enough for a line.
LEAST_GAPS = 3 * BATCHES
LEAST_CHUNKS = 4
#: More gaps are not looked at: those of every k-th stream are enough.
MOST_GAPS = 200_000
#: Student's t with 18 degrees of freedom, one-sided, at 0.0005.
CRITICAL_T = 3.92


class DecodeLoad(NamedTuple):
    """finished_fraction: requests finished per request offered, at most; rises: whether the line is significant."""

    finished_fraction: float
    rises: bool
    first_gap_ms: float
    last_gap_ms: float


def decode_load(rows: Records, start_ns: int, end_ns: int, offered_rps: float) -> DecodeLoad | None:
    """Return the load of decoding while requests were sent, from start to end; None if there are too few gaps."""
    streams = rows.where(rows.completed & (rows.first_ns >= 0) & (np.diff(rows.gap_offsets) >= LEAST_CHUNKS - 1))
    if not len(streams):
        return None
    ends_ns, gaps_ns = _gaps(streams)
    inside = (ends_ns - gaps_ns >= start_ns) & (ends_ns - gaps_ns < end_ns) & (gaps_ns > 0)
    ends_ns, gaps_ns = ends_ns[inside], gaps_ns[inside]
    if len(gaps_ns) < LEAST_GAPS:
        return None
    order = np.argsort(ends_ns, kind="stable")
    ends_ns, gaps_ns = ends_ns[order], gaps_ns[order]
    in_flight = (_stream_time(streams, ends_ns) - _stream_time(streams, ends_ns - gaps_ns)) / gaps_ns
    x, y = batch_means(in_flight, BATCHES), batch_means(gaps_ns / 1e9, BATCHES)
    slope, t = (float(figure) for figure in line(x, y))
    later_slope = float(line(x[BATCHES // 2 :], y[BATCHES // 2 :])[0])
    work = slope * offered_rps * float(np.diff(streams.gap_offsets).mean())
    return DecodeLoad(
        finished_fraction=1 / max(work, 1e-9),
        rises=t > CRITICAL_T and later_slope > slope / 2 and bool(x[-1] > x[: BATCHES // 2].max()),
        first_gap_ms=float(y[:2].mean()) * 1e3,
        last_gap_ms=float(y[-2:].mean()) * 1e3,
    )


def _gaps(streams: Records) -> tuple[Float64, Float64]:
    """Return ends and lengths of the gaps between chunks, in ns, at most about ``MOST_GAPS``; both of shape (gaps,)."""
    every = max(1, len(streams.gaps_ns) // MOST_GAPS)
    sample = streams.where(np.arange(len(streams)) % every == 0)
    counts, gaps_ns = np.diff(sample.gap_offsets), sample.gaps_ns.astype(np.float64)
    sums = np.concatenate(([0.0], np.cumsum(gaps_ns)))
    return np.repeat(sample.first_ns - sums[sample.gap_offsets[:-1]], counts) + sums[1:], gaps_ns


def _stream_time(streams: Records, times_ns: Floats) -> Floats:
    """Return the time that all streams together have been decoded until each time, in ns."""
    return _time_since(streams.first_ns, times_ns) - _time_since(streams.last_ns, times_ns)


def _time_since(starts_ns: Int64, times_ns: Floats) -> Floats:
    """Return the sum of time - start over the starts before each time."""
    base_ns = starts_ns.min()
    starts = np.sort(starts_ns - base_ns).astype(np.float64)
    sums = np.concatenate(([0.0], np.cumsum(starts)))
    before = np.searchsorted(starts, times_ns - base_ns)
    return np.asarray(before * (times_ns - base_ns) - sums[before])
