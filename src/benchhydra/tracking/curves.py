"""The curves of a sweep: a system's main metrics over the rate (or concurrency, or batch size) that was swept.

Pure functions from the logged runs of the points; ``curve_runs`` writes what they return.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any, Self

from benchhydra.analysis.pairing import differing_settings
from benchhydra.points import VARIANT_KEYS
from benchhydra.result import Verdict, point_settings
from benchhydra.tracking.entry import mlflow_key, rounded
from benchhydra.tracking.metric_tags import MetricInfo

#: Root keys whose settings may follow the rate within a curve, as ``num_prompts`` does in a zipped sweep.
LOAD_ROOTS = frozenset({"qps", "num_prompts", "load", "script"})
#: MLflow's steps are whole numbers. If a rate of the sweep is not, steps are thousandths of it, or millionths if two
#: rates would have the same step.
FINE_STEPS = (1000, 1_000_000)


@dataclass(frozen=True, kw_only=True)
class PointRun:
    """The MLflow run of a point, as MLflow returns it. axis, rate: from its load label ``qps=4``; None without one."""

    run_id: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    start_ms: int
    end_ms: int

    @classmethod
    def of_run(cls, run: Any) -> Self:
        """That of an MLflow run."""
        info, data = run.info, run.data
        return cls(
            run_id=info.run_id,
            params=data.params,
            tags=data.tags,
            metrics=data.metrics,
            start_ms=info.start_time,
            end_ms=info.end_time or info.start_time,
        )

    @property
    def axis(self) -> str | None:
        """What the load was swept over: ``qps``."""
        return self._load[0] if self._load is not None else None

    @property
    def rate(self) -> float:
        """The value of the axis; may be infinite."""
        return self._load[1] if self._load is not None else math.nan

    @property
    def usable(self) -> bool:
        """Whether its metrics may be used."""
        return self.tags.get("metrics_usable") == "true"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What identifies its point and variant."""
        return point_settings(self.params) | {key: self.params[key] for key in self.params if _is_variant(key)}

    @cached_property
    def _load(self) -> tuple[str, float] | None:
        axis, _, text = self.tags.get("load", "").partition("=")
        try:
            return axis, float(text)
        except ValueError:
            return None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The points of one system in a sweep, ordered by rate. system: the settings that its points share."""

    axis: str
    steps_per_unit: int
    system: Mapping[str, Any]
    points: tuple[PointRun, ...]

    @cached_property
    def key(self) -> str:
        """Identifies the curve within its sweep."""
        identity = [self.script, self.axis, self.steps_per_unit, sorted(self.system.items())]
        return hashlib.sha256(json.dumps(identity, default=str).encode()).hexdigest()[:16]

    @property
    def script(self) -> str:
        """The script of all its points."""
        return self.points[0].tags.get("script", "")

    @property
    def start_ms(self) -> int:
        """When its first point was started, in ms since the epoch."""
        return min(point.start_ms for point in self.points)

    @cached_property
    def info(self) -> MetricInfo:
        """Which metrics to draw: as the first point says that names any."""
        infos = (MetricInfo.of_tags(point.tags) for point in self.points)
        return next((info for info in infos if info.main), MetricInfo(main=()))

    @cached_property
    def repeats(self) -> dict[float, list[PointRun]]:
        """Rate -> the points at it whose metrics may be used."""
        repeats: dict[float, list[PointRun]] = {}
        for point in self.points:
            if point.usable:
                repeats.setdefault(point.rate, []).append(point)
        return repeats

    @property
    def steps(self) -> dict[int, float]:
        """Step -> rate. An infinite rate has no step."""
        return {round(rate * self.steps_per_unit): rate for rate in self.repeats if math.isfinite(rate)}

    def means(self, rate: float) -> dict[str, float]:
        """The mean at a rate of each drawn metric that all its repeats have."""
        metrics = [point.metrics for point in self.repeats[rate]]
        names = [mlflow_key(name) for name in self.info.names]
        shared = [name for name in names if all(name in values for values in metrics)]
        return {name: rounded(fmean(values[name] for values in metrics)) for name in shared}

    def sources(self) -> dict[str, str]:
        """Step -> a digest of the runs from which its values are computed."""
        return {str(step): _digest(point.run_id for point in self.repeats[rate]) for step, rate in self.steps.items()}

    def params(self) -> dict[str, str]:
        """The parameters that all points share."""
        first, *others = (point.params for point in self.points)
        return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}

    @property
    def verdict(self) -> Verdict:
        """The most severe verdict of the points that are drawn; INVALID without any."""
        verdicts = {point.tags.get("verdict") for point in self.points if point.usable} or {Verdict.INVALID.value}
        return next(verdict for verdict in reversed(Verdict) if verdict in verdicts or verdict is Verdict.VALID)


def curves_of(points: Sequence[PointRun]) -> list[Curve]:
    """The curves of a sweep: those of its systems that were measured at two rates or more, the earliest first."""
    by_axis: dict[tuple[str, str], list[PointRun]] = {}
    for point in points:
        if point.axis is not None:
            by_axis.setdefault((point.tags.get("script", ""), point.axis), []).append(point)
    curves = [curve for (_, axis), members in by_axis.items() for curve in _curves_over(axis, members)]
    curves.sort(key=lambda curve: (curve.start_ms, curve.key))
    return [curve for curve in curves if len({point.rate for point in curve.points}) > 1]


def _curves_over(axis: str, points: Sequence[PointRun]) -> list[Curve]:
    rates = {point.rate for point in points if math.isfinite(point.rate)}
    following = _follow_rate(points)
    systems: dict[str, list[PointRun]] = {}
    for point in points:
        system = {key: value for key, value in point.settings.items() if key not in following}
        systems.setdefault(json.dumps(system, sort_keys=True, default=str), []).append(point)
    return [
        Curve(
            axis=axis,
            steps_per_unit=_steps_per_unit(rates),
            system=json.loads(system),
            points=tuple(sorted(members, key=lambda point: (point.rate, point.tags.get("repeat", ""), point.run_id))),
        )
        for system, members in systems.items()
    ]


def _steps_per_unit(rates: Collection[float]) -> int:
    if all(rate.is_integer() for rate in rates):
        return 1
    distinct = (fine for fine in FINE_STEPS if len({round(rate * fine) for rate in rates}) == len(rates))
    return next(distinct, FINE_STEPS[-1])


def _follow_rate(points: Sequence[PointRun]) -> set[str]:
    """The settings of the load that have one value at each rate: the rate itself, and what was swept with it."""
    by_rate: dict[float, list[dict[str, Any]]] = {}
    for point in points:
        by_rate.setdefault(point.rate, []).append(point.settings)
    varying = {key for settings in by_rate.values() for key in differing_settings(settings)}
    keys = {key for point in points for key in point.settings}
    return {key for key in keys - varying if key.partition(".")[0] in LOAD_ROOTS}


def _is_variant(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in VARIANT_KEYS)


def _digest(run_ids: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(sorted(run_ids)).encode()).hexdigest()[:8]
