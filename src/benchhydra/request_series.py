"""Series derived from a run's rows: rates, concurrency and latencies of its requests in each second."""

from __future__ import annotations

import numpy as np

from benchhydra.records import Float64, Int64, Records
from benchhydra.series import Series
from benchhydra.window import Window

_S = 1_000_000_000


def per_second_series(records: Records) -> list[Series]:
    """Return rates, requests in flight, and TTFT and TPOT of the requests sent, for each second from the first send.

    The time of a sample is the start of its second; a second without a value has no sample.
    """
    sent = records.sent_ns >= 0
    if not sent.any():
        return []
    window = Window.over(records)
    start_ns = int(records.sent_ns[sent].min())
    seconds = int((records.done_ns[sent].max() - start_ns) // _S) + 1
    sent_at = np.where(sent, (records.sent_ns - start_ns) // _S, -1)
    done_at = np.where(records.completed, (records.done_ns - start_ns) // _S, -1)
    times_ns = start_ns + np.arange(seconds, dtype=np.int64) * _S
    columns = {
        ("client.sent_rps", "requests/s"): np.bincount(sent_at[sent_at >= 0], minlength=seconds).astype(np.float64),
        ("client.done_rps", "requests/s"): np.bincount(done_at[done_at >= 0], minlength=seconds).astype(np.float64),
        ("client.in_flight", "requests"): in_flight_at(records, times_ns + _S // 2),
        ("client.mean_ttft_ms", "ms"): _by_second(sent_at, window.ttft_ms, seconds, None),
        ("client.p99_ttft_ms", "ms"): _by_second(sent_at, window.ttft_ms, seconds, 99),
        ("client.mean_tpot_ms", "ms"): _by_second(sent_at, window.tpot_ms, seconds, None),
    }
    return [
        Series(name=name, unit=unit, times_ns=times_ns[~np.isnan(values)], values=values[~np.isnan(values)])
        for (name, unit), values in columns.items()
        if not np.isnan(values).all()
    ]


def in_flight_at(records: Records, times_ns: Int64) -> Float64:
    """Return the number of requests in flight at each time, with the shape of ``times_ns``."""
    sent = records.sent_ns >= 0
    starts_ns, ends_ns = np.sort(records.sent_ns[sent]), np.sort(records.done_ns[sent])
    in_flight = np.searchsorted(starts_ns, times_ns, "right") - np.searchsorted(ends_ns, times_ns, "right")
    return np.asarray(in_flight, dtype=np.float64)


def _by_second(second: Int64, values: Float64, seconds: int, percent: float | None) -> Float64:
    """Return the mean (percent=None) or a percentile of each second's values, shape (seconds,); NaN without values."""
    counted = (second >= 0) & ~np.isnan(values)
    order = np.argsort(second[counted], kind="stable")
    groups = np.split(values[counted][order], np.searchsorted(second[counted][order], np.arange(1, seconds)))
    figures = [np.nan if not len(g) else g.mean() if percent is None else np.percentile(g, percent) for g in groups]
    return np.array(figures, dtype=np.float64)
