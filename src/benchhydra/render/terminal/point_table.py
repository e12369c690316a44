"""The table of one point, printed at the end of its run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from benchhydra.metrics import declared
from benchhydra.render import renderer
from benchhydra.render.figures import ARROWS, LATENCY, LEGEND, latency_name, number
from benchhydra.render.point_report import PointReport
from benchhydra.render.terminal._console import UNLIMITED, VERDICT_COLOURS, console
from benchhydra.render.terminal.group_table import group_tables
from benchhydra.result import MetricValue, Result

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Beginnings of the names of series that tell about the machine.
MACHINE_SERIES = ("host.", "gpu.", "client.")
STATISTICS = ("mean", "median", "std", "max")


@renderer("point", "table")
def print_point(report: PointReport, stream: TextIO) -> None:
    """The metrics, the verdict with its reasons, the directory of the files, and the link to MLflow."""
    print_point_on(console(stream, UNLIMITED), report)


def print_point_on(terminal: Console, report: PointReport) -> None:
    """Print a point on the given console, whose width tests choose."""
    from rich.markup import escape

    result = report.result
    if result.description:
        terminal.print(f"[bold]{escape(result.description)}[/bold]", highlight=False)
    if latencies(result):
        terminal.print(_latency_table(result))
        terminal.print()
    for title, metrics in _sections(result).items():
        terminal.print(_metric_table(f"{result.script}: {title}", metrics))
        terminal.print()
    for table in group_tables(result):
        terminal.print(table)
        terminal.print()
    if result.metrics:
        terminal.print(f"[dim]{LEGEND}[/dim]\n", highlight=False)
    colour = VERDICT_COLOURS[result.verdict]
    status = "" if result.status == "ok" else f" ({escape(result.status)})"
    terminal.print(f"[{colour}]{result.verdict.value}[/{colour}]{status}", highlight=False)
    for text in (*(reason.text for reason in result.reasons), *result.warnings):
        terminal.print(f"  - {escape(text)}", highlight=False)
    terminal.print(f"files:  {escape(str(report.directory))}", highlight=False, soft_wrap=True)
    if report.mlflow_link:
        line = f"mlflow: {escape(report.mlflow_link)}  (benchhydra ui serves it)"
        terminal.print(line, highlight=False, soft_wrap=True)


def latencies(result: Result) -> list[tuple[str, dict[str, float]]]:
    """(latency, statistic -> ms) of each latency; those "with failures" only if a request failed."""
    statistics: dict[str, dict[str, float]] = {}
    for key, metric in result.metrics.items():
        match = LATENCY.fullmatch(key)
        if match and not _is_of_machine(key) and (result.failures or not key.endswith("_with_failures_ms")):
            statistics.setdefault(match[2], {})[match[1]] = metric.value
    return list(statistics.items())


def _latency_table(result: Result) -> Table:
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    rows = latencies(result)
    columns = sorted({name for _, values in rows for name in values}, key=_statistic_order)
    table = Table(f"{result.script}: latency, ms ↓", *columns, box=None, header_style="bold", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for latency, values in rows:
        cells = (number(values[name]) if name in values else "" for name in columns)
        table.add_row(Text(latency_name(latency)), *cells)
    return table


def _statistic_order(name: str) -> tuple[bool, float]:
    """The place of a statistic's column: mean, median and std, the percentiles by size, max."""
    if name in STATISTICS:
        return name == "max", -1.0 + STATISTICS.index(name) / 10
    return False, float(name[1:])


def _sections(result: Result) -> dict[str, list[MetricValue]]:
    """Title -> metrics that are not in the table of latencies: the client's, the server's own, those of the machine."""
    sections: dict[str, list[MetricValue]] = {"metric": [], "the server's own figures": [], "machine": []}
    for key, metric in result.metrics.items():
        if _is_of_machine(key):
            sections["machine"].append(metric)
        elif not LATENCY.fullmatch(key):
            is_of_server = key.startswith(("server_", "outside_server_"))
            sections["the server's own figures" if is_of_server else "metric"].append(metric)
    return {title: metrics for title, metrics in sections.items() if metrics}


def _is_of_machine(key: str) -> bool:
    """Whether a metric is computed from samples of the host, its GPUs or our own client."""
    metric = declared(key)
    return metric is not None and any(need.startswith(MACHINE_SERIES) for need in metric.needs)


def _metric_table(title: str, metrics: Iterable[MetricValue]) -> Table:
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    table = Table(title, "value", "unit", box=None, header_style="bold", pad_edge=False)
    table.columns[1].justify = "right"
    for metric in metrics:
        table.add_row(Text(metric.key), number(metric.value), Text(metric.unit + ARROWS[metric.better]))
    return table
