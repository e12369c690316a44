"""The requests of a run as a page shows them: distributions, a timeline of some of them, and lanes of series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchhydra.artifacts import SERIES_FILE
from benchhydra.errors import ResultError
from benchhydra.records import Int64, Phase, Records, Status
from benchhydra.report.data.benchmarks import column
from benchhydra.report.data.lanes import TIME_DECIMALS, even_steps, lanes, second_of
from benchhydra.request_series import per_second_series
from benchhydra.request_times import Floats
from benchhydra.series import Series, read_series
from benchhydra.window import Window, started_ns

LATENCIES = ("ttft_ms", "tpot_ms", "e2el_ms")
#: Quantiles at every percent, the smallest and the largest value among them.
PERCENTS = tuple(range(101))
BINS = 40
#: Requests in the timeline; of more, this many are taken at even steps.
MAX_ROWS = 600


def run_requests(records_file: Path) -> dict[str, Any]:
    """The requests of the run whose records these are. Raises ResultError where a file cannot be read."""
    records = read_records(records_file)
    series = read_run_series(records_file.with_name(SERIES_FILE))
    return requests_data(records, per_second_series(records) if series is None else series)


def read_records(file: Path) -> Records:
    """Records of a run. Raises ResultError where they cannot be read."""
    try:
        return Records.read(file)
    except ResultError as error:
        raise ResultError(error.message, hint="--requests 0 goes without requests") from error


def read_run_series(file: Path) -> list[Series] | None:
    """The series of a run; None where there is no file, or one of version 0.1, which held what the records hold.

    Raises ResultError where the file cannot be read.
    """
    return read_series(file) if file.exists() and not _is_version_0_1(file) else None


def _is_version_0_1(file: Path) -> bool:
    """Whether a series file has a row for each second and a column for each figure."""
    from benchhydra.arrow_columns import pa, pq  # start-up time

    try:
        return "second" in pq.read_schema(file).names
    except (OSError, pa.ArrowException):
        return False  # `read_series` names the reason


def requests_data(records: Records, series: Sequence[Series] = ()) -> dict[str, Any]:
    """Quantiles and histograms of the measured requests, the timeline, and the series of the whole run."""
    window = Window.of(records)
    latencies_ms = {name: getattr(window, name) for name in LATENCIES}
    latencies_ms = {name: values[~np.isnan(values)] for name, values in latencies_ms.items()}
    latencies_ms = {name: values for name, values in latencies_ms.items() if len(values)}
    start_ns = _first_send_ns(records)
    return {
        "measured": len(window),
        "quantiles": {name: quantiles(values) for name, values in latencies_ms.items()},
        "histograms": {name: histogram(values) for name, values in latencies_ms.items()},
        "timeline": timeline(records),
        "window": window_span(window, start_ns),
        "lanes": lanes(series, start_ns),
    }


def window_span(window: Window, start_ns: int) -> list[float] | None:
    """Start and end of the measured window, in seconds after the first send; None if it is empty."""
    return None if window.span_ns is None else [second_of(time_ns, start_ns) for time_ns in window.span_ns]


def quantiles(values: Floats) -> list[float | None]:
    """Values at ``PERCENTS``, in the unit of the values."""
    return column(np.percentile(values, PERCENTS).tolist())


def histogram(values: Floats) -> dict[str, Any]:
    """Requests in ``BINS`` bins of equal width between the smallest and the largest value."""
    counts, edges = np.histogram(values, BINS)
    return {"counts": counts.tolist(), "edges": column(edges.tolist())}


def timeline(records: Records) -> dict[str, Any]:
    """Start, first token and end of requests, in seconds after the first send; -1 is never."""
    order = np.argsort(started_ns(records), kind="stable")
    rows = order[even_steps(len(order), MAX_ROWS)]
    start_ns = _first_send_ns(records)
    return {
        "total": len(records),
        "sent_s": _seconds(started_ns(records)[rows], start_ns),
        "first_s": _seconds(records.first_ns[rows], start_ns),
        "done_s": _seconds(records.done_ns[rows], start_ns),
        "tokens": records.output_tokens[rows].tolist(),
        "status": [Status(status).name.lower() for status in records.status[rows].tolist()],
        "phase": [Phase(phase).name.lower() for phase in records.phase[rows].tolist()],
    }


def _first_send_ns(records: Records) -> int:
    return int(started_ns(records).min()) if len(records) else 0


def _seconds(times_ns: Int64, start_ns: int) -> list[float]:
    seconds = np.where(times_ns >= 0, (times_ns - start_ns) / 1e9, -1.0)
    return [round(second, TIME_DECIMALS) for second in seconds.tolist()]
