"""The table of one run, printed at its end."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchhydra.render.text import number
from benchhydra.result import Better, Result

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STATISTICS = ("mean", "median", "std", "p90", "p95", "p99", "max")
LATENCY = re.compile(r"(mean|median|std|p50|p90|p95|p99|max)_(.+)_ms")
COLOURS = {"VALID": "green", "SUSPECT": "yellow", "INVALID": "red"}
ARROWS = {Better.BIGGER: " ↑", Better.SMALLER: " ↓", Better.OBSERVATION: ""}
LEGEND = "↑ higher is better  ↓ lower is better"


def print_point(result: Result, directory: Path, link: str | None, *, console: Console | None = None) -> None:
    """Print metrics, verdict with its reasons, and where the files are, to stdout."""
    from rich.console import Console
    from rich.markup import escape

    console = console or Console(file=sys.stdout)
    if result.description:
        console.print(f"[bold]{escape(result.description)}[/bold]", highlight=False)
    if latencies(result):
        console.print(_latency_table(result))
        console.print()
    if result.metrics:
        console.print(_other_table(result))
        console.print(f"[dim]{LEGEND}[/dim]\n", highlight=False)
    colour = COLOURS[result.verdict.value]
    status = "" if result.status == "ok" else f" ({escape(result.status)})"
    console.print(f"[{colour}]{result.verdict.value}[/{colour}]{status}", highlight=False)
    for text in (*(reason.text for reason in result.reasons), *result.warnings):
        console.print(f"  - {escape(text)}", highlight=False)
    console.print(f"files:  {escape(str(directory))}", highlight=False, soft_wrap=True)
    if link:
        console.print(f"mlflow: {escape(link)}  (benchhydra ui serves it)", highlight=False, soft_wrap=True)


def latencies(result: Result) -> list[tuple[str, dict[str, float]]]:
    """Each latency that is there, with its known statistics in ms; those that count failures only where there are."""
    found: dict[str, dict[str, float]] = {}
    for key, metric in result.metrics.items():
        matched = LATENCY.fullmatch(key)
        if matched and (result.failures or not key.endswith("_with_failures_ms")):
            statistic = "median" if matched[1] == "p50" else matched[1]
            found.setdefault(matched[2], {})[statistic] = metric.value
    return list(found.items())


def spoken(latency: str) -> str:
    """``scheduled_ttft`` -> ``TTFT scheduled``, ``client_lag`` -> ``client lag``."""
    words = latency.split("_")
    words.sort(key=lambda word: word not in ("ttft", "tpot", "itl", "e2el"))
    return " ".join(word.upper() if word in ("ttft", "tpot", "itl", "e2el") else word for word in words)


def _latency_table(result: Result) -> Table:
    from rich.table import Table
    from rich.text import Text

    rows = latencies(result)
    shown = [s for s in STATISTICS if any(s in values for _, values in rows)]
    table = Table(f"{result.script}: latency, ms ↓", *shown, box=None, header_style="bold", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in rows:
        table.add_row(Text(spoken(name)), *(number(values[s]) if s in values else "" for s in shown))
    return table


def _other_table(result: Result) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(f"{result.script}: metric", "value", "unit", box=None, header_style="bold", pad_edge=False)
    table.columns[1].justify = "right"
    for key, found in result.metrics.items():
        if not LATENCY.fullmatch(key):
            table.add_row(Text(key), number(found.value), Text(found.unit + ARROWS[found.better]))
    return table
