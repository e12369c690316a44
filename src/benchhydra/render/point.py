"""The table of one run, printed at its end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchhydra.metrics import Better
from benchhydra.render.text import number
from benchhydra.result import Result

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STATISTICS = ("mean", "median", "std", "p90", "p95", "p99", "max")
LATENCIES = ("ttft", "tpot", "itl", "e2el")
COLOURS = {"VALID": "green", "SUSPECT": "yellow", "INVALID": "red"}
ARROWS = {Better.BIGGER: "higher is better", Better.SMALLER: "lower is better", Better.OBSERVATION: ""}


def print_point(result: Result, directory: Path, link: str | None, *, console: Console | None = None) -> None:
    """Print metrics, verdict with its reasons, and where the files are, to stdout."""
    from rich.console import Console
    from rich.markup import escape

    console = console or Console(file=sys.stdout)
    if latencies(result):
        console.print(_latency_table(result))
    if result.metrics:
        console.print(_other_table(result))
    colour = COLOURS[result.verdict.value]
    console.print(f"[{colour}]{result.verdict.value}[/{colour}] ({escape(result.status)})", highlight=False)
    for text in (*(reason.text for reason in result.reasons), *result.warnings):
        console.print(f"  - {escape(text)}", highlight=False)
    console.print(f"files:  {escape(str(directory))}", highlight=False, soft_wrap=True)
    if link:
        console.print(f"mlflow: {escape(link)}  (benchhydra ui serves it)", highlight=False, soft_wrap=True)


def latencies(result: Result) -> list[tuple[str, dict[str, float]]]:
    """Each latency that is there, with its known statistics in ms."""
    found = []
    for name in LATENCIES:
        values = {s: result.value(f"{s}_{name}_ms") for s in STATISTICS}
        known = {s: value for s, value in values.items() if value is not None}
        if known:
            found.append((name, known))
    return found


def _latency_table(result: Result) -> Table:
    from rich.table import Table

    rows = latencies(result)
    shown = [s for s in STATISTICS if any(s in values for _, values in rows)]
    table = Table("latency, ms", *shown, box=None, header_style="bold", title=result.script, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in rows:
        table.add_row(name.upper(), *(number(values[s]) if s in values else "" for s in shown))
    return table


def _other_table(result: Result) -> Table:
    from rich.table import Table
    from rich.text import Text

    grouped = {f"{s}_{name}_ms" for s in STATISTICS for name in LATENCIES}
    table = Table("metric", "value", "unit", "", box=None, header_style="bold")
    table.columns[1].justify = "right"
    for key, found in result.metrics.items():
        if key not in grouped:
            table.add_row(Text(key), number(found.value), Text(found.unit), Text(ARROWS[found.better], style="dim"))
    return table
