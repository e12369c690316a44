"""The measured window: which requests count, and what the run looked like second by second.

``apply`` marks rows as warm-up, measured or cool-down. ``steady=auto`` trims what is left of the warm-up by MSER-5
(K. P. White, "An effective truncation heuristic for bias reduction in simulation output", SIMULATION 69(6), 1997):
latencies in order of sending are averaged in batches of five, and the cut is where the standard error of the mean of
what remains is smallest. A cut beyond the middle means that no steady state was reached, as its author says, and then
nothing is cut: the verdict says so by rules of its own.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchhydra.records import Int64, Phase, Records, arrow, write_parquet

BATCH = 5
Series = dict[str, npt.NDArray[np.float64]]


def mark_phases(records: Records, warmup_s: float, cooldown_s: float, steady: str = "fixed") -> Records:
    """The same rows with their phases: the first and last seconds of sending, and, with "auto", the unsteady start."""
    sent = started_ns(records)
    phase = np.full(len(records), Phase.MEASURED, dtype=np.int32)
    if len(records):
        phase[sent < sent.min() + warmup_s * 1e9] = Phase.WARMUP
        if cooldown_s > 0:
            phase[sent > sent.max() - cooldown_s * 1e9] = Phase.COOLDOWN
    marked = dataclasses.replace(records, phase=phase)
    return _trim_start(marked, sent) if steady == "auto" else marked


def started_ns(records: Records) -> Int64:
    """When a row began: sent, or, where it never was, scheduled. Shape (n,)."""
    return np.where(records.sent_ns >= 0, records.sent_ns, records.scheduled_ns)


def mser5(values: npt.NDArray[np.float64]) -> int:
    """How many leading values to cut; 0 where the best cut lies beyond the middle or there are under 50 values."""
    batches = values[: len(values) // BATCH * BATCH].reshape(-1, BATCH).mean(axis=1)
    if len(batches) < 10:
        return 0
    left = np.arange(len(batches), 0, -1)
    tail = np.cumsum(batches[::-1])[::-1]
    squares = np.cumsum((batches**2)[::-1])[::-1]
    error = ((squares - tail**2 / left) / left**2)[:-BATCH]
    cut = int(np.argmin(error))
    return cut * BATCH if cut < len(batches) / 2 else 0


def in_flight_at(records: Records, times_ns: Int64) -> npt.NDArray[np.float64]:
    """Requests under way at each time, shape like times_ns."""
    sent = records.sent_ns >= 0
    began, ended = np.sort(records.sent_ns[sent]), np.sort(records.done_ns[sent])
    under_way = np.searchsorted(began, times_ns, "right") - np.searchsorted(ended, times_ns, "right")
    return np.asarray(under_way, dtype=np.float64)


def per_second_series(records: Records) -> Series:
    """Second by second from the first send: rates, requests under way, TTFT and TPOT of those sent in it; NaN: none."""
    sent = records.sent_ns >= 0
    if not sent.any():
        return {}
    start = int(records.sent_ns[sent].min())
    seconds = int((records.done_ns[sent].max() - start) // 10**9) + 1
    sent_at = np.where(sent, (records.sent_ns - start) // 10**9, -1)
    done_at = np.where(records.completed, (records.done_ns - start) // 10**9, -1)
    spoke = records.completed & (records.first_ns >= 0)
    ttft = np.where(spoke, (records.first_ns - records.sent_ns) / 1e6, np.nan)
    tpot = np.where(spoke, (records.last_ns - records.first_ns) / 1e6, np.nan) / records.decode_steps
    edges = start + np.arange(seconds, dtype=np.int64) * 10**9
    return {
        "second": np.arange(seconds, dtype=np.float64),
        "sent_rps": np.bincount(sent_at[sent_at >= 0], minlength=seconds).astype(np.float64),
        "done_rps": np.bincount(done_at[done_at >= 0], minlength=seconds).astype(np.float64),
        "in_flight": in_flight_at(records, edges + 500_000_000),
        "mean_ttft_ms": _by_second(sent_at, ttft, seconds, None),
        "p99_ttft_ms": _by_second(sent_at, ttft, seconds, 99),
        "mean_tpot_ms": _by_second(sent_at, tpot, seconds, None),
    }


def write_series(records: Records, path: Path) -> None:
    """Write ``series`` as Parquet, a row a second; what a second does not have is null."""
    write_parquet({name: arrow(values) for name, values in per_second_series(records).items()}, path)


def _by_second(
    second: Int64, values: npt.NDArray[np.float64], seconds: int, percent: float | None
) -> npt.NDArray[np.float64]:
    """Mean, or a percentile, of the values of each second."""
    known = (second >= 0) & ~np.isnan(values)
    order = np.argsort(second[known], kind="stable")
    groups = np.split(values[known][order], np.searchsorted(second[known][order], np.arange(1, seconds)))
    found = [np.nan if not len(g) else g.mean() if percent is None else np.percentile(g, percent) for g in groups]
    return np.array(found, dtype=np.float64)


def _trim_start(records: Records, sent: Int64) -> Records:
    """Mark as warm-up what MSER-5 cuts, by TTFT (where the load settles first) or else by latency."""
    rows = np.flatnonzero((records.phase == Phase.MEASURED) & records.completed & (records.sent_ns >= 0))
    rows = rows[np.argsort(sent[rows], kind="stable")]
    end = np.where(records.last_ns[rows] >= 0, records.last_ns[rows], records.done_ns[rows])
    first = np.where(records.first_ns[rows] >= 0, records.first_ns[rows], end)
    cut = max(mser5((first - sent[rows]) / 1e6), mser5((end - sent[rows]) / 1e6)) if len(rows) else 0
    phase = records.phase.copy()
    if cut:
        phase[(phase == Phase.MEASURED) & (sent < sent[rows[cut]])] = Phase.WARMUP
    return dataclasses.replace(records, phase=phase)
