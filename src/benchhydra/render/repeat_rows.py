"""Points measured more than once: mean and 95 % interval of each key metric, from a sweep's ``repeats``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchhydra.render.figures import mean_and_half_width
from benchhydra.render.sweep_rows import SweepRows, key_metrics, split_overrides

TITLE = "mean of repeats ± half of its 95 % interval"


@dataclass(frozen=True)
class RepeatTable:
    """A table: varying keys, how many repeats, metrics; and a row of cells a point."""

    keys: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def repeat_table(sweep: SweepRows) -> RepeatTable | None:
    """The sweep's repeated points; None where each was measured once."""
    entries = [entry for entry in sweep.facts.get("repeats") or () if isinstance(entry, Mapping)]
    measured = {name for entry in entries for name in entry.get("metrics", {})}
    metrics = tuple(name for name in key_metrics(sweep.rows) if name in measured)
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
