"""Two witnesses: mean latencies as the server measured them, beside the client's, over the same requests.

The server publishes sums and counts (series of the probe ``server``). Between two samples they cover those requests
whose first token was generated, or whose answer ended, between them; the client's mean is taken over the requests whose
first token, or last, arrived between them. The samples are the last before the window and the first after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchhydra.records import Float64, Int64, Records
from benchhydra.series import Series
from benchhydra.window import Window
from benchhydra.window_series import falls, named

#: The server's count may differ by this fraction of the client's, or by one request: a request at an edge.
COUNT_DIFFERENCE = 0.02


class ServerMean(NamedTuple):
    """The server's mean of one latency, over ``counted`` requests (or intervals) between two samples."""

    mean_ms: float
    counted: float
    span_ns: tuple[int, int]


class Witnesses(NamedTuple):
    """Both means of one latency. same_count: whether both counted the same number of requests."""

    server_ms: float
    client_ms: float
    same_count: bool

    @property
    def outside_ms(self) -> float:
        """What lies between the two: network, HTTP, the client."""
        return self.client_ms - self.server_ms


def server_mean(window: Window, name: str) -> ServerMean | None:
    """Return the server's mean of ``queue``, ``prefill``, ``decode``, ``ttft``, ``itl`` or ``e2el`` over the window.

    None if the server does not publish it, the samples do not enclose the window, nothing was counted, or a counter
    fell (the server was restarted).
    """
    sums, counts = (named(window.series, f"server.{name}_{kind}") for kind in ("sum_ms", "count"))
    span_ns = _enclosing_samples(counts, window.span_ns)
    if span_ns is None or not sums or len(sums[0]) != len(counts[0]):
        return None
    if falls(sums[0], span_ns) or falls(counts[0], span_ns):
        return None
    total_ms, count = (_growth(series[0], span_ns) for series in (sums, counts))
    return ServerMean(total_ms / count, count, span_ns) if count > 0 else None


def witnesses(window: Window, name: str) -> Witnesses | None:
    """Return both means of ``ttft``, ``itl`` or ``e2el``; None if one is unknown, or they cover different requests."""
    server = server_mean(window, name)
    if server is None:
        return None
    if name == "itl":
        return _gaps(window, server)
    client_ms = client_latencies_ms(window.every, name, server.span_ns)
    difference = abs(server.counted - len(client_ms))
    if not len(client_ms) or difference > max(1.0, COUNT_DIFFERENCE * len(client_ms)):
        return None
    return Witnesses(server.mean_ms, float(client_ms.mean()), difference == 0)


def client_latencies_ms(rows: Records, name: str, span_ns: tuple[int, int]) -> Float64:
    """Return the client's ``ttft`` or ``e2el`` of the requests whose first, or last, token arrived in a span."""
    ends_ns = rows.first_ns if name == "ttft" else np.where(rows.last_ns >= 0, rows.last_ns, rows.done_ns)
    counted = _inside(ends_ns, span_ns) & (rows.sent_ns >= 0)
    if name == "e2el":
        counted &= rows.completed
    return np.asarray((ends_ns[counted] - rows.sent_ns[counted]) / 1e6)


def _gaps(window: Window, server: ServerMean) -> Witnesses | None:
    """Return both means of the time between tokens.

    One chunk may hold the tokens of several steps, which the server counts one by one. So the client's time is divided
    by the server's count; and both cover the same requests if they do for E2E latency.
    """
    whole = witnesses(window, "e2el")
    if whole is None:
        return None
    total_ms = sum(_gaps_inside_ns(block, server.span_ns) for block in window.every.blocks()) / 1e6
    return Witnesses(server.mean_ms, total_ms / server.counted, whole.same_count) if total_ms > 0 else None


def _gaps_inside_ns(rows: Records, span_ns: tuple[int, int]) -> float:
    """Return the sum of the gaps that end inside a span."""
    counts = np.diff(rows.gap_offsets)
    elapsed_ns = np.cumsum(rows.gaps_ns, dtype=np.float64)
    before_ns = np.concatenate(([0.0], elapsed_ns))[rows.gap_offsets[:-1]]
    ends_ns = np.repeat(rows.first_ns - before_ns, counts) + elapsed_ns
    return float(rows.gaps_ns[_inside(ends_ns, span_ns)].sum(dtype=np.float64))


def _enclosing_samples(counts: Sequence[Series], span_ns: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the times of the last sample before a span and the first after it; None if there are no such samples."""
    if span_ns is None or not counts:
        return None
    times_ns = counts[0].times_ns
    first = int(np.searchsorted(times_ns, span_ns[0], side="right")) - 1
    last = int(np.searchsorted(times_ns, span_ns[1], side="left"))
    return (int(times_ns[first]), int(times_ns[last])) if first >= 0 and last < len(times_ns) else None


def _growth(counter: Series, span_ns: tuple[int, int]) -> float:
    begin, end = (counter.values[np.searchsorted(counter.times_ns, time_ns)] for time_ns in span_ns)
    return float(end - begin)


def _inside(times_ns: Int64 | Float64, span_ns: tuple[int, int]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray((times_ns > span_ns[0]) & (times_ns <= span_ns[1]))
