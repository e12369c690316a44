"""The requests of a run as a page shows them: distributions, a timeline of some of them, and second by second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchhydra.errors import ResultError
from benchhydra.records import Int64, Phase, Records, Status
from benchhydra.report.data.benchmarks import column
from benchhydra.request_series import per_second_series
from benchhydra.window import Floats, Window, started_ns

LATENCIES = ("ttft_ms", "tpot_ms", "e2el_ms")
#: Quantiles at every percent, the smallest and the largest value among them.
PERCENTS = tuple(range(101))
BINS = 40
#: Requests in the timeline; of more, this many are taken at even steps.
MOST_ROWS = 600
#: Decimals of seconds in the timeline: a tenth of a millisecond.
TIME_DECIMALS = 4


def read_records(file: Path) -> Records:
    """Records of a run. Raises ResultError where they cannot be read."""
    try:
        return Records.read(file)
    except (OSError, ValueError, KeyError) as error:
        raise ResultError(f"cannot read {file}: {error}", hint="--requests 0 goes without requests") from error


def requests_data(records: Records) -> dict[str, Any]:
    """Quantiles and histograms of the measured requests, the timeline, and the series of the whole run."""
    window = Window.of(records)
    known = {name: values[~np.isnan(values)] for name in LATENCIES if len(values := getattr(window, name))}
    known = {name: values for name, values in known.items() if len(values)}
    started = started_ns(records)
    start_ns = int(started.min()) if len(started) else 0
    return {
        "measured": len(window),
        "quantiles": {name: quantiles(values) for name, values in known.items()},
        "histograms": {name: histogram(values) for name, values in known.items()},
        "timeline": timeline(records),
        "series": [
            {
                "name": series.name,
                "unit": series.unit,
                "labels": dict(series.labels),
                "seconds": _seconds(series.times_ns, start_ns),
                "values": column(series.values.tolist()),
            }
            for series in per_second_series(records)
        ],
    }


def quantiles(values: Floats) -> list[float | None]:
    """Values at ``PERCENTS``, in the unit of the values."""
    return column(np.percentile(values, PERCENTS).tolist())


def histogram(values: Floats) -> dict[str, Any]:
    """Requests in ``BINS`` bins of equal width between the smallest and the largest value."""
    counts, edges = np.histogram(values, BINS)
    return {"counts": counts.tolist(), "edges": column(edges.tolist())}


def timeline(records: Records) -> dict[str, Any]:
    """Begin, first token and end of requests, in seconds after the first send; -1 is never."""
    begun = started_ns(records)
    order = np.argsort(begun, kind="stable")
    rows = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), MOST_ROWS)).astype(np.int64))]
    start = int(begun.min()) if len(begun) else 0
    return {
        "total": len(records),
        "sent_s": _seconds(begun[rows], start),
        "first_s": _seconds(records.first_ns[rows], start),
        "done_s": _seconds(records.done_ns[rows], start),
        "tokens": records.output_tokens[rows].tolist(),
        "status": [Status(status).name.lower() for status in records.status[rows].tolist()],
        "phase": [Phase(phase).name.lower() for phase in records.phase[rows].tolist()],
    }


def _seconds(times_ns: Int64, start_ns: int) -> list[float]:
    known = np.where(times_ns >= 0, (times_ns - start_ns) / 1e9, -1.0)
    return [round(value, TIME_DECIMALS) for value in known.tolist()]
