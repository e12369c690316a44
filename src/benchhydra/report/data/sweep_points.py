"""The points of a sweep: the repeats of each, what distinguishes it from the others, and where it stands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchhydra.analysis.pairing import WORKLOAD_ROOTS
from benchhydra.analysis.runs import Run
from benchhydra.render.figures import leaf_names, setting_text
from benchhydra.report.data.benchmarks import rounded
from benchhydra.report.data.details import file_slug
from benchhydra.result import Verdict

#: Holds the same rate as ``qps``.
QPS_COPIES = ("load.qps",)
MACHINE = "machine"


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """The repeats of a point on one kind of machine, and where it stands among the others of its sweep.

    settings: the keys that distinguish the points, with its values. axis: the key of the horizontal axis, "" without.
    x: its place on the axis, None if it has none.
    """

    runs: tuple[Run, ...]
    settings: Mapping[str, Any]
    axis: str = ""
    x: float | None = None

    @property
    def script(self) -> str:
        """The script of its runs."""
        return self.runs[0].script

    @property
    def name(self) -> str:
        """What distinguishes it, else its label."""
        return settings_text(self.settings, list(self.settings)) or self.runs[0].label

    @property
    def line(self) -> str:
        """What distinguishes it beside the axis."""
        return settings_text(self.settings, [key for key in self.settings if key != self.axis])

    @property
    def workload(self) -> tuple[str, ...]:
        """The values of the settings that belong to the workload: points are ranked among those of the same one."""
        return tuple(repr(v) for key, v in self.settings.items() if key.partition(".")[0] in WORKLOAD_ROOTS)

    @property
    def usable(self) -> tuple[Run, ...]:
        """The runs that take part in its figures."""
        return tuple(run for run in self.runs if run.usable)

    def values(self, metric: str) -> list[float]:
        """A metric of the usable repeats."""
        return [run.metrics[metric] for run in self.usable if metric in run.metrics]

    def spread(self, metric: str) -> list[float | None] | None:
        """The median, the smallest and the largest value of the usable repeats; None without a value."""
        values = self.values(metric)
        return [rounded(value) for value in (median(values), min(values), max(values))] if values else None

    def data(self, metrics: Sequence[str]) -> dict[str, Any]:
        """The point as charts show it."""
        spreads = {metric: self.spread(metric) for metric in metrics}
        return {
            "name": self.name,
            "line": self.line,
            "x": self.x,
            "script": self.script,
            "runs": [file_slug(run.run_id) for run in self.runs],
            "invalid": len(self.runs) - len(self.usable),
            "suspect": sum(run.verdict is Verdict.SUSPECT for run in self.usable),
            "values": {metric: spread for metric, spread in spreads.items() if spread},
        }


def points_of(
    runs: Sequence[Run], configs: Mapping[str, Mapping[str, Any]], keys: Sequence[str], axis: str
) -> list[SweepPoint]:
    """The points of the runs, a point of each machine apart: those of one workload together, by place on the axis.

    configs: the flat config of each run_id. keys: those that distinguish the points.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.machine, run.point_key), []).append(run)
    machines = {machine for machine, _ in groups}
    points = []
    for (machine, _), repeats in groups.items():
        config = configs[repeats[0].run_id]
        settings = {key: config[key] for key in keys if config.get(key) is not None}
        if len(machines) > 1:
            settings[MACHINE] = machine
        points.append(SweepPoint(runs=tuple(repeats), settings=settings, axis=axis, x=number_of(config.get(axis))))
    return sorted(points, key=lambda point: (point.x is None, point.x or 0.0))


def settings_text(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    """``qps=8 max_num_seqs=64``: the values of these keys, which are called by their last words if that is enough."""
    names = short_keys(keys)
    return " ".join(f"{names[key]}={setting_text(settings[key])}" for key in keys if settings.get(key) is not None)


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """The last word of each key; the whole key if two of them end with the same word."""
    return dict(zip(keys, leaf_names(keys), strict=True))


def number_of(value: object) -> float | None:
    """A finite number, or None: ``qps=inf`` has no place on an axis."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None
