"""The plot of a point's latencies: their distributions, and how they went over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchhydra.records import Records

Float64 = npt.NDArray[np.float64]


def write_plot(records_file: Path, path: Path) -> Path | None:
    """Plot the measured, completed rows of a records file as PNG; None where there are none."""
    records = Records.read(records_file).measured()
    rows = records.where(records.completed)
    series = {name: values for name, values in latencies_ms(rows).items() if len(values)}
    if not series:
        return None
    figure_class, canvas_class = load_plotting()
    figure = figure_class(figsize=(11, 4.2))
    canvas_class(figure)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.07, right=0.985, bottom=0.12, top=0.92, wspace=0.17)  # a layout engine takes as long
    _distributions(left, series)
    _timeline(right, rows)
    figure.savefig(path, dpi=100)
    return path


def load_plotting() -> tuple[Any, Any]:
    """(figure class, canvas class); importing them takes half a second, the first time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    return Figure, FigureCanvasAgg


def latencies_ms(rows: Records) -> dict[str, Float64]:
    """TTFT, TPOT and E2E of the rows where they are known, by name."""
    sent = rows.sent_ns >= 0
    spoke = sent & (rows.first_ns >= 0)
    tpot_ms = (rows.last_ns - rows.first_ns)[spoke] / 1e6 / rows.decode_steps[spoke]
    return {
        "TTFT": (rows.first_ns - rows.sent_ns)[spoke] / 1e6,
        "TPOT": tpot_ms[~np.isnan(tpot_ms)],
        "E2E": (rows.last_ns - rows.sent_ns)[sent & (rows.last_ns >= 0)] / 1e6,
    }


def _distributions(axes: Any, series: dict[str, Float64]) -> None:
    for name, values in series.items():
        axes.plot(np.sort(values), np.arange(1, len(values) + 1) / len(values), label=name, drawstyle="steps-post")
    axes.set(xlabel="ms", ylabel="share of requests at or below", title="Distribution", xscale="symlog")
    axes.grid(alpha=0.3)
    axes.legend()


def _timeline(axes: Any, rows: Records) -> None:
    start = rows.sent_ns.min()
    for name, ends in (("TTFT", rows.first_ns), ("E2E", rows.last_ns)):
        known = ends >= 0
        axes.plot((rows.sent_ns[known] - start) / 1e9, (ends - rows.sent_ns)[known] / 1e6, ".", ms=3, label=name)
    axes.set(xlabel="sent, s after the first request", ylabel="ms", title="Over time")
    axes.grid(alpha=0.3)
    axes.legend()
