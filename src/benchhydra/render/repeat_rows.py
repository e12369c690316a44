"""Repeated points as a table: mean and 95 % interval of each key metric, from ``repeats`` in ``sweep.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchhydra.render.figures import mean_and_half_width
from benchhydra.render.sweep_rows import SweepRows, split_overrides, table_metrics

TITLE = "mean of repeats ± half of its 95 % interval"


@dataclass(frozen=True)
class RepeatTable:
    """A table of repeated points.

    A row has one cell for each of ``keys``, the number of repeats, and one cell for each of ``metrics``.
    """

    keys: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def repeat_table(sweep: SweepRows) -> RepeatTable | None:
    """The table of a sweep's repeated points; None if every point was measured once."""
    entries = [entry for entry in sweep.facts.get("repeats") or () if isinstance(entry, Mapping)]
    measured = {name for entry in entries for name in entry.get("metrics", {})}
    metrics = tuple(name for name in table_metrics(sweep.rows) if name in measured)
    if not entries or not metrics:
        return None
    keys = tuple(key for key in sweep.varying if key != "repeat")
    return RepeatTable(keys, metrics, tuple(_cells(entry, keys, metrics) for entry in entries))


def _cells(entry: Mapping[str, Any], keys: Sequence[str], metrics: Sequence[str]) -> tuple[str, ...]:
    overrides = split_overrides(entry.get("overrides", ()))
    intervals = [entry.get("metrics", {}).get(name) for name in metrics]
    return (*(overrides.get(key, "") for key in keys), str(entry.get("repeats", "")), *map(_interval, intervals))


def _interval(interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return ""
    return mean_and_half_width(interval["mean"], interval["low"], interval["high"])
