"""The summary of a sweep: a table on the terminal, ``summary.md`` and ``summary.csv`` beside its ``sweep.json``."""

from __future__ import annotations

import csv
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchhydra.render.repeat_rows import TITLE, repeat_table
from benchhydra.render.sweep_rows import PointRow, SweepRows, read_sweep, shown_metrics, unit_of
from benchhydra.render.terminal.point_table import ARROWS, COLOURS, LATENCY, LEGEND, spoken
from benchhydra.render.text import csv_cell, escape_markdown, number

if TYPE_CHECKING:
    from rich.console import Console


def write_summary(sweep_dir: Path) -> None:
    """Write ``summary.md`` and ``summary.csv``. Raises ResultError where sweep.json cannot be read, or OSError."""
    sweep = read_sweep(sweep_dir)
    _write(sweep_dir / "summary.md", as_markdown(sweep))
    _write(sweep_dir / "summary.csv", as_csv(sweep))


def print_summary(sweep_dir: Path, *, console: Console | None = None) -> None:
    """Print a row a point, grouped by script, and the reasons below, to stdout."""
    from rich.console import Console
    from rich.markup import escape

    console = console or Console(file=sys.stdout)
    sweep = read_sweep(sweep_dir)
    for text in sweep.descriptions():
        console.print(f"[bold]{escape(text)}[/bold]", highlight=False)
    for script, rows in sweep.by_script().items():
        _print_table(console, sweep, script, rows)
    _print_repeats(console, sweep)
    for row in sweep.rows:
        for reason in row.reasons:
            console.print(f"  {escape(sweep.name(row))}: {escape(reason)}", highlight=False)
    console.print(f"[dim]{LEGEND}[/dim]", escape(_counts(sweep)), sep="\n", highlight=False)
    console.print(f"files:  {escape(str(sweep_dir))}", highlight=False, soft_wrap=True)


def as_markdown(sweep: SweepRows) -> str:
    """The summary as Markdown."""
    lines = [
        "# Summary",
        "",
        *(f"{escape_markdown(text)}\n" for text in sweep.descriptions()),
        escape_markdown(_counts(sweep)),
        "",
    ]
    if sweep.facts.get("command"):
        lines += [f"Command: {escape_markdown(str(sweep.facts['command']))}", ""]
    for script, rows in sweep.by_script().items():
        metrics = shown_metrics(rows)
        varying = sweep.varying_in(rows)
        heads = [*map(escape_markdown, varying), *(_head(rows, name) for name in metrics), "verdict"]
        ruler = [*["---"] * len(varying), *["--:"] * len(metrics), "---"]
        lines += [f"## {escape_markdown(script or 'no result')}", "", _line(heads), _line(ruler)]
        lines += [
            _line(
                [escape_markdown(row.overrides.get(key, "")) for key in varying]
                + _values(row, metrics)
                + [_verdict(row)]
            )
            for row in rows
        ]
        lines.append("")
    lines += _repeats_as_markdown(sweep)
    lines += [
        f"- {escape_markdown(sweep.name(row))}: {escape_markdown(text)}" for row in sweep.rows for text in row.reasons
    ]
    return "\n".join(lines).rstrip() + "\n"


def as_csv(sweep: SweepRows) -> str:
    """Every varying override and every metric a column; unknown is empty."""
    metrics = list(dict.fromkeys(name for row in sweep.rows if row.result for name in row.result.metrics))
    varying = [key for key in sweep.varying if key != "repeat"]
    heads = [*varying, "repeat", "script", "status", "verdict", "reasons", "description", "dir", *metrics]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, heads))
    for row in sweep.rows:
        cells = [row.overrides.get(key, "") for key in varying]
        cells += [str(row.result.repeat) if row.result else "", row.script, row.status, row.verdict]
        cells += ["; ".join(row.reasons), row.result.description if row.result else "", row.directory]
        values = [row.result.value(name) if row.result else None for name in metrics]
        writer.writerow([csv_cell(c) for c in cells] + ["" if v is None else repr(v) for v in values])
    return text.getvalue()


def _print_table(console: Console, sweep: SweepRows, script: str, rows: list[PointRow]) -> None:
    from rich.table import Table
    from rich.text import Text

    metrics = shown_metrics(rows)
    varying = sweep.varying_in(rows)
    table = Table(title=script, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for key in varying:
        table.add_column(Text(key), overflow="fold", vertical="bottom")
    for name in metrics:
        table.add_column(Text(_tall_head(rows, name)), justify="right")
    table.add_column("verdict")
    for row in rows:
        verdict = Text(_verdict(row), style=COLOURS.get(row.verdict, "red"))
        table.add_row(*(Text(row.overrides.get(key, "")) for key in varying), *_values(row, metrics), verdict)
    console.print(table)


def _print_repeats(console: Console, sweep: SweepRows) -> None:
    from rich.table import Table
    from rich.text import Text

    found = repeat_table(sweep)
    if found is None:
        return
    table = Table(title=TITLE, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for key in (*found.keys, "n"):
        table.add_column(Text(key), overflow="fold", vertical="bottom")
    for name in found.metrics:
        table.add_column(Text(_tall_head(sweep.rows, name)), justify="right")
    for cells in found.rows:
        table.add_row(*(Text(cell.replace(" ± ", "\n± ")) for cell in cells))
    console.print(table)


def _repeats_as_markdown(sweep: SweepRows) -> list[str]:
    found = repeat_table(sweep)
    if found is None:
        return []
    rows = [_line(list(map(escape_markdown, cells))) for cells in found.rows]
    heads = [*map(escape_markdown, (*found.keys, "n")), *(_head(sweep.rows, name) for name in found.metrics)]
    ruler = ["---"] * (len(found.keys) + 1) + ["--:"] * len(found.metrics)
    return [f"## {TITLE}", "", _line(heads), _line(ruler), *rows, ""]


def _tall_head(rows: list[PointRow], metric: str) -> str:
    """Three short lines: what, which statistic of it, unit with direction."""
    matched = LATENCY.fullmatch(metric)
    what = [spoken(matched[2]), matched[1]] if matched else [metric.removesuffix("_throughput"), ""]
    return "\n".join([*what, f"{unit_of(rows, metric)}{_arrow(rows, metric)}"])


def _head(rows: list[PointRow], metric: str) -> str:
    return f"{metric}, {unit_of(rows, metric)}{_arrow(rows, metric)}"


def _arrow(rows: list[PointRow], metric: str) -> str:
    better = next(row.result.metrics[metric].better for row in rows if row.result and metric in row.result.metrics)
    return ARROWS[better]


def _values(row: PointRow, metrics: list[str]) -> list[str]:
    values = [row.result.value(name) if row.result else None for name in metrics]
    return ["" if value is None else number(value) for value in values]


def _verdict(row: PointRow) -> str:
    return row.verdict if row.status == "ok" else f"{row.verdict} ({row.status})".strip()


def _counts(sweep: SweepRows) -> str:
    parts = [_plural(len(sweep.rows), "point")]
    for verdict in COLOURS:
        count = sum(row.verdict == verdict for row in sweep.rows)
        if count:
            parts.append(f"{count} {verdict}")
    if "server_starts" in sweep.facts:
        parts.append(_plural(sweep.facts["server_starts"], "server start"))
    if isinstance(sweep.facts.get("wall_s"), int | float):
        parts.append(f"{number(round(sweep.facts['wall_s'], 1))} s")
    return ", ".join(parts)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
