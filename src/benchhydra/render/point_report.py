"""The report on one point, printed when its run ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchhydra.render.figures import TIME, latency_name, quantity
from benchhydra.result import MetricValue, Result


@dataclass(frozen=True, kw_only=True)
class PointReport:
    """A point's result, the directory of its files, and the link to its MLflow run if it was logged."""

    result: Result
    directory: Path
    mlflow_link: str | None = None


def result_line(result: Result) -> str:
    """A point in one line: ``VALID, 9.688 requests/s, output 1,938 tokens/s, TTFT mean 50.4 ms, ...``."""
    metrics = [result.metrics[name] for name in result.key_metrics if name in result.metrics]
    return ", ".join([result.verdict.value, *map(_short_metric, metrics)])


def _short_metric(metric: MetricValue) -> str:
    match = TIME.fullmatch(metric.key)
    name = f"{latency_name(match[2])} {match[1]}" if match else metric.key.removesuffix("_throughput").replace("_", " ")
    is_in_unit = metric.unit.startswith(name)  # "request" of requests/s
    return quantity(metric.value, metric.unit) if is_in_unit else f"{name} {quantity(metric.value, metric.unit)}"
