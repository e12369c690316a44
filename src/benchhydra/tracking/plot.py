"""The plot of a point's latencies: their distributions, and their values over time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchhydra.records import Float64, Records
from benchhydra.window import Window

#: Latency -> its column in a window.
DISTRIBUTIONS = {"TTFT": "ttft_ms", "TPOT": "tpot_ms", "E2EL": "e2el_ms"}
OVER_TIME = ("TTFT", "E2EL")


def write_plot(records: Records, path: Path) -> Path | None:
    """Plot the rows in the measured window as PNG, and return its path; None if no row has a latency."""
    window = Window.of(records)
    columns = {name: getattr(window, column) for name, column in DISTRIBUTIONS.items()}
    latencies = {name: values for name, values in columns.items() if not np.isnan(values).all()}
    if not latencies:
        return None
    figure_class, canvas_class = load_plotting()
    figure = figure_class(figsize=(11, 4.2))
    canvas_class(figure)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.07, right=0.985, bottom=0.12, top=0.92, wspace=0.17)  # a layout engine is slow
    _plot_distributions(left, latencies)
    _plot_over_time(right, window, latencies)
    figure.savefig(path, dpi=100)
    return path


def load_plotting() -> tuple[Any, Any]:
    """(figure class, canvas class). The first call imports matplotlib, which takes half a second."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    return Figure, FigureCanvasAgg


def _plot_distributions(axes: Any, latencies: Mapping[str, Float64]) -> None:
    for name, values in latencies.items():
        ordered = np.sort(values[~np.isnan(values)])
        axes.plot(ordered, np.arange(1, len(ordered) + 1) / len(ordered), label=name, drawstyle="steps-post")
    axes.set(xlabel="ms", ylabel="fraction of requests at or below", title="Distribution", xscale="symlog")
    axes.grid(alpha=0.3)
    axes.legend()


def _plot_over_time(axes: Any, window: Window, latencies: Mapping[str, Float64]) -> None:
    sent_s = (window.sent_ns - window.sent_ns[window.sent_ns >= 0].min()) / 1e9
    for name in OVER_TIME:
        if name in latencies:
            axes.plot(sent_s, latencies[name], ".", ms=3, label=name)
    axes.set(xlabel="sent, s after the first request", ylabel="ms", title="Over time")
    axes.grid(alpha=0.3)
    axes.legend()
