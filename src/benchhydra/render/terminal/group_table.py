"""Tables of groups of requests: by adapter, by priority, by replica; a column each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchhydra.render.figures import ARROWS, number
from benchhydra.result import Result

if TYPE_CHECKING:
    from rich.table import Table


def group_tables(result: Result) -> Iterator[Table]:
    """Yield a table for each label that has groups: their metrics, without those that no group has."""
    from rich.table import Table  # start-up time, as in _console
    from rich.text import Text

    for label, groups in result.groups.items():
        metrics = {name: metric for of_group in groups.values() for name, metric in of_group.items()}
        table = Table(f"by {label}", box=None, header_style="bold", pad_edge=False)
        for name in groups:
            table.add_column(Text(name), justify="right")
        table.add_column("unit")
        for name, metric in metrics.items():
            cells = [number(of_group[name].value) if name in of_group else "" for of_group in groups.values()]
            table.add_row(Text(name), *cells, Text(metric.unit + ARROWS[metric.better]))
        yield table
