"""Evidence from the requests of single runs, where there are no repeats: weaker, and marked as such.

The requests of each run are resampled in blocks (stats/bootstrap.py), and each resample's latencies computed anew. That
sees the noise inside a run and not the noise between runs. Only latencies can be judged so: a throughput is one number
of a whole run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchhydra.analysis.comparison import Basis, MetricChange
from benchhydra.analysis.run_evidence import with_evidence
from benchhydra.analysis.runs import Run
from benchhydra.analysis.stats.bootstrap import block_indices
from benchhydra.analysis.stats.robust import ChangeEvidence
from benchhydra.artifacts import RECORDS_FILE
from benchhydra.errors import ResultError
from benchhydra.metrics import declared
from benchhydra.records import COUNTS, TIMES, Records
from benchhydra.result import Better
from benchhydra.window import Window

RESAMPLES = 200
FEWEST_REQUESTS = 30
#: Errors of a log below this are not believed; it keeps constant latencies from dividing by zero.
SMALLEST_ERROR = 1e-6
LATENCY_UNIT = "ms"


def with_request_evidence(metrics: Sequence[MetricChange], base: Run, candidate: Run) -> tuple[MetricChange, ...]:
    """The changes of two single runs; latencies that have no evidence yet get that of their requests."""
    base_errors, candidate_errors = latency_errors(base), latency_errors(candidate)

    def with_its_evidence(change: MetricChange) -> MetricChange:
        key = change.metric
        if change.basis is not Basis.NONE or key not in base_errors or key not in candidate_errors:
            return change
        evidence = _evidence(change.base, change.candidate, math.hypot(base_errors[key], candidate_errors[key]))
        return with_evidence(change, evidence, Basis.REQUESTS)

    return tuple(with_its_evidence(change) for change in metrics)


def latency_errors(run: Run, seed: int = 0) -> dict[str, float]:
    """Standard error of the log of each latency of a run, from its records; empty where there are too few.

    Raises ResultError where its records cannot be read.
    """
    file = run.file(RECORDS_FILE)
    if file is None or not file.is_file():
        return {}
    rows = _read_records(file).measured()
    if len(rows) < FEWEST_REQUESTS:
        return {}
    rng = np.random.default_rng(seed)
    logs: dict[str, list[float]] = {}
    for _ in range(RESAMPLES):
        for key, value in _latencies(take_rows(rows, block_indices(len(rows), rng)), run).items():
            logs.setdefault(key, []).append(math.log(value))
    return {key: float(np.std(values, ddof=1)) for key, values in logs.items() if len(values) == RESAMPLES}


def _read_records(file: Path) -> Records:
    try:
        return Records.read(file)
    except ResultError as error:
        raise ResultError(error.message, hint="delete it to compare without its requests") from error


def _latencies(rows: Records, run: Run) -> dict[str, float]:
    """The latency metrics that the run has, over these rows: those in ms that have a direction and are above 0."""
    window = Window.over(rows)
    metrics = [metric for name in run.metrics if (metric := declared(name)) and metric.unit == LATENCY_UNIT]
    values = {m.name: m.compute(window) for m in metrics if m.better is not Better.OBSERVATION}
    return {key: value for key, value in values.items() if value is not None and value > 0}


def _evidence(base: float, candidate: float, error: float) -> ChangeEvidence:
    """Evidence from two values and the standard error of the log of their ratio."""
    known_error = np.array(max(error, SMALLEST_ERROR))
    return ChangeEvidence(np.array(math.log(candidate / base)), known_error, 2.0 * (RESAMPLES - 1), known_error)


def take_rows(rows: Records, index: npt.NDArray[np.int64]) -> Records:
    """Rows by index, with their gaps; a row may be taken more than once."""
    counts = np.diff(rows.gap_offsets)[index]
    ends = np.cumsum(counts)
    inside = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
    return Records(
        **{name: getattr(rows, name)[index] for name in TIMES + COUNTS},
        gaps_ns=rows.gaps_ns[np.repeat(rows.gap_offsets[:-1][index], counts) + inside],
        gap_offsets=np.concatenate(([0], ends)).astype(np.int64),
        errors=rows.errors,
        labels={name: values[index] for name, values in rows.labels.items()},
    )
