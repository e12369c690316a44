"""What the metrics of an MLflow run mean, as tags: MLflow itself knows neither units nor directions.

The main metrics have a tag ``better.NAME`` each. One tag, ``metrics``, describes all of them in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from benchhydra.result import MetricValue, Result
from benchhydra.series import Series
from benchhydra.tracking.entry import mlflow_key
from benchhydra.tracking.logged_series import quantity_key

TAG = "metrics"
BETTER = "better."
#: MLflow's limit of a tag's value is 8,000 characters.
LONGEST = 8000


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """The metrics to show first, and the pairs (x, y) to draw against each other, as a result names them."""

    main: tuple[str, ...]
    charts: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_result(cls, result: Result) -> Self:
        """Those of a result."""
        return cls(main=result.key_metrics, charts=result.charts)

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> Self:
        """Those in the tags of a logged run; none if it was logged by version 0.1, which had no such tag."""
        info = json.loads(tags.get(TAG, "{}"))
        return cls(main=tuple(info.get("main", ())), charts=tuple((x, y) for x, y in info.get("charts", ())))

    @property
    def names(self) -> tuple[str, ...]:
        """All of these metrics, the main ones first."""
        return tuple(dict.fromkeys([*self.main, *(name for pair in self.charts for name in pair)]))


def metric_tags(result: Result, all_series: Iterable[Series]) -> dict[str, str]:
    """The tags of a result's metrics and of its logged series.

    If the description of all metrics is too long for a tag, it is of the main ones.
    """
    main = {name: value for name, value in result.metrics.items() if name in result.key_metrics}
    series_units = _by_unit((series.unit, quantity_key(series)) for series in all_series)
    fixed = {"main": result.key_metrics, "charts": result.charts}
    texts = (
        json.dumps({**fixed, "better": _by_direction(metrics.values()), **more})
        for metrics, more in ((result.metrics, {"series": series_units}), (result.metrics, {}), (main, {}))
    )
    text = next((text for text in texts if len(text) <= LONGEST), json.dumps({"main": result.key_metrics}))
    return {mlflow_key(f"{BETTER}{name}"): value.better.value for name, value in main.items()} | {TAG: text}


def _by_direction(metrics: Iterable[MetricValue]) -> dict[str, dict[str, list[str]]]:
    """Direction -> unit -> names."""
    directions: dict[str, list[tuple[str, str]]] = {}
    for metric in metrics:
        directions.setdefault(metric.better.value, []).append((metric.unit, metric.key))
    return {better: _by_unit(members) for better, members in directions.items()}


def _by_unit(members: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    units: dict[str, dict[str, Any]] = {}
    for unit, name in members:
        units.setdefault(unit, {})[name] = None
    return {unit: list(names) for unit, names in units.items()}
