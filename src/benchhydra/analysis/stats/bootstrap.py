"""Evidence from the requests of single runs, where there are no repeats: weaker, and said to be.

Blocks of neighbouring requests are drawn with replacement (the circular block bootstrap; Politis and Romano, 1992), so
that what neighbours share, a queue for one, stays together. It sees the noise inside a run and not the noise between
runs. Only latencies can be judged so: a throughput is one number of a whole run.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from benchhydra.analysis.runs import Run
from benchhydra.analysis.stats.robust import ChangeEvidence, Floats
from benchhydra.errors import ResultError
from benchhydra.metrics import MetricContext, summarize
from benchhydra.records import COUNTS, TIMES, Int64, Records
from benchhydra.result import Better

RECORDS_FILE = "records.parquet"
RESAMPLES = 200
FEWEST_REQUESTS = 30
UNIT = "ms"


def bootstrap_scales(run: Run, seed: int = 0) -> dict[str, float]:
    """Standard error of the log of each latency metric of a run, from its records; empty where there are too few.

    Raises ResultError where its records cannot be read.
    """
    file = (run.directory or Path()) / RECORDS_FILE
    if run.directory is None or not file.is_file():
        return {}
    rows = _read(file).measured()
    if len(rows) < FEWEST_REQUESTS:
        return {}
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    for _ in range(RESAMPLES):
        for metric in summarize(
            resampled(rows, _blocks(len(rows), rng)), run.script, MetricContext()
        ):  # latencies need no limits
            if metric.unit == UNIT and metric.better is not Better.OBSERVATION and metric.value > 0:
                found.setdefault(metric.key, []).append(math.log(metric.value))
    return {key: float(np.std(logs, ddof=1)) for key, logs in found.items() if len(logs) == RESAMPLES}


def _read(file: Path) -> Records:
    try:
        return Records.read(file)
    except (OSError, ValueError, KeyError) as error:
        raise ResultError(f"cannot read {file}: {error}", hint="delete it to go without") from error


def compare_within_runs(base: float, candidate: float, base_error: float, candidate_error: float) -> ChangeEvidence:
    """Evidence from two values and the standard errors of their logs."""
    error: Floats = np.array(max(math.hypot(base_error, candidate_error), 1e-6))
    return ChangeEvidence(np.array(math.log(candidate / base)), error, 2.0 * (RESAMPLES - 1), error)


def _blocks(count: int, rng: np.random.Generator) -> Int64:
    """Indices of a resample of ``count`` rows in blocks of about count ** (1/3) * 2 rows."""
    length = max(1, round(2 * count ** (1 / 3)))
    starts = rng.integers(0, count, size=-(-count // length))
    return np.asarray(((starts[:, None] + np.arange(length)) % count).ravel()[:count])


def resampled(rows: Records, index: Int64) -> Records:
    """Rows by index, with their gaps; a row may be taken more than once."""
    counts = np.diff(rows.gap_offsets)[index]
    ends = np.cumsum(counts)
    inside = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
    return Records(
        **{name: getattr(rows, name)[index] for name in TIMES + COUNTS},
        gaps_ns=rows.gaps_ns[np.repeat(rows.gap_offsets[:-1][index], counts) + inside],
        gap_offsets=np.concatenate(([0], ends)).astype(np.int64),
        errors=rows.errors,
    )
