"""The preset views of the experiment (columns, charts, filter), and links to them.

They show what MLflow's own page does not: verdicts and main metrics as columns, and main metrics as lines over the
exact rate (the page's axis is MLflow's step, a whole number). MLflow stores a shared view as JSON in the experiment tag
``mlflow.sharedViewState.<key>``. The format is undocumented: it was taken from the web page of 3.17, to which the
package pins MLflow. A link with ``viewStateShareKey`` opens the view. A search filter in the same link would disable
it, so the filter is part of the view.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from benchhydra.render.figures import TIME, latency_name
from benchhydra.result import Result
from benchhydra.tracking.curves import Curve
from benchhydra.tracking.entry import mlflow_key
from benchhydra.tracking.metric_tags import MetricInfo

if TYPE_CHECKING:
    from benchhydra.tracking.store import MlflowStore

PREFIX = "mlflow.sharedViewState."
SWEEP = "sweep-"
#: MLflow's names of the sections for all other metrics, and our groups of series: collapsed.
COLLAPSED = ("Model metrics", "groups", "repeats", "client", "server", "gpu", "host")
MOST_SWEEPS = 20  # a sweep's view takes about 5 kB, and MLflow sends all views with each page
#: Columns beside the main metrics. With more of them the verdict, which MLflow puts last, is beyond the edge.
COLUMNS = ("tags.`verdict`", "params.`qps`")


@dataclass(frozen=True, kw_only=True)
class ScriptCharts:
    """The charts of a script: lines over ``axis``, or bars without one."""

    script: str
    info: MetricInfo
    axis: str | None = None

    @classmethod
    def of_curve(cls, curve: Curve) -> Self:
        """Those of a curve."""
        return cls(script=curve.script, info=curve.info, axis=mlflow_key(curve.axis))

    @property
    def section(self) -> str:
        """The id of their section on the page."""
        return self.script if self.axis is None else f"{self.script}/{self.axis}"

    @property
    def title(self) -> str:
        """The title of the section: ``Serving over qps``."""
        return self.script.capitalize() + (f" over {self.axis}" if self.axis else "")

    def charts(self) -> list[dict[str, Any]]:
        """One chart for each main metric, and one for each (x, y) in the result's ``charts``."""
        main = [mlflow_key(name) for name in self.info.main]
        pairs = [(mlflow_key(x), mlflow_key(y)) for x, y in self.info.charts]
        if self.axis is not None:
            return [self._line(y, self.axis) for y in main] + [self._line(y, x) for x, y in pairs]
        bars = [self._chart("BAR", metric, metricKey=metric) for metric in main]
        return bars + [
            self._chart("SCATTER", f"{x}-{y}", xaxis={"key": x, "type": "METRIC"}, yaxis={"key": y, "type": "METRIC"})
            for x, y in pairs
        ]

    def _line(self, y: str, x: str) -> dict[str, Any]:
        name = _words(y) if x == self.axis else f"{_words(y)} over {_words(x)}"
        axes = {"xAxisKey": "metric", "selectedXAxisMetricKey": x, "useGlobalXaxisKey": False, "yAxisKey": "metric"}
        scales = {"xAxisScaleType": "linear", "scaleType": "linear", "range": {}, "lineSmoothness": 0}
        metric = {"metricKey": y, "yAxisExpressions": [], "displayName": name}
        return self._chart("LINE", f"{x}-{y}", **metric, **axes, **scales)

    def _chart(self, kind: str, name: str, **more: Any) -> dict[str, Any]:
        fixed = {"uuid": f"{self.script}-{kind}-{name}", "type": kind, "metricSectionId": self.section}
        return fixed | {"runsCountToCompare": 100, "deleted": False, "isGenerated": False} | more


def preset(shown: ScriptCharts, search_filter: str, old: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a view: columns, charts, filter and order.

    old: the previous state of the view, whose charts and columns of other scripts and axes are kept. Lines replace
    bars.
    """
    replaced = (shown.script, shown.section)
    charts = [chart for chart in old.get("compareRunCharts", ()) if chart["metricSectionId"] not in replaced]
    sections = [s for s in old.get("compareRunSections", ()) if s["uuid"] not in (*replaced, *COLLAPSED)]
    if shown.axis is not None or not any(_is_over_axis(section, shown.script) for section in sections):
        charts += shown.charts()
        sections.append(_section(shown.section, shown.title, shown=True))
    metrics = [f"metrics.`{mlflow_key(name)}`" for name in shown.info.main]
    return {
        "searchFilter": search_filter,
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": list(dict.fromkeys([*COLUMNS, *old.get("selectedColumns", ()), *metrics])),
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": sorted(charts, key=lambda chart: str(chart["metricSectionId"])),
        "compareRunSections": [
            *sorted(sections, key=lambda section: str(section["uuid"])),
            *(_section(name, name, shown=False) for name in COLLAPSED),
        ],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "groupBy": None,
    }


def publish(opened: MlflowStore, result: Result) -> None:
    """Write the views of the result's script and of its sweep to the experiment if they have changed."""
    shown = ScriptCharts(script=result.script, info=MetricInfo.of_result(result))
    _publish(opened, result.sweep_id, [shown], result.epoch_time)


def publish_curves(opened: MlflowStore, sweep_id: str, curves: Sequence[Curve]) -> None:
    """Draw lines in the views of a sweep and its scripts."""
    if curves:
        shown = {charts.section: charts for charts in map(ScriptCharts.of_curve, curves)}
        newest_ms = max(point.start_ms for curve in curves for point in curve.points)
        _publish(opened, sweep_id, list(shown.values()), newest_ms / 1000)


def _publish(opened: MlflowStore, sweep_id: str | None, shown: Sequence[ScriptCharts], made_s: float) -> None:
    """Write the views that have changed. Removes the views of all but the ``MOST_SWEEPS`` newest sweeps."""
    tags = opened.client.get_experiment(opened.experiment_id).tags
    states: dict[str, dict[str, Any]] = {}
    for charts in shown:
        filters = {charts.script: f"tags.script = '{charts.script}'"}
        if sweep_id:
            filters[f"{SWEEP}{sweep_id}"] = f"tags.sweep_id = '{sweep_id}'"
        for key, search_filter in filters.items():
            states[key] = preset(charts, search_filter, states.get(key) or _state(tags, key))
    for key, state in states.items():
        if state != _state(tags, key):
            text = json.dumps(state | {"made": made_s})
            opened.client.set_experiment_tag(opened.experiment_id, PREFIX + key, text)
    _remove_old_sweeps(opened, tags)


def _state(tags: Mapping[str, str], key: str) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(tags.get(PREFIX + key, "{}"))
    state.pop("made", None)
    return state


def script_views(tags: Mapping[str, str]) -> list[str]:
    """The names of the scripts that have a view in an experiment's tags, sorted."""
    keys = sorted(tag.removeprefix(PREFIX) for tag in tags if tag.startswith(PREFIX))
    return [key for key in keys if not key.startswith(SWEEP)]


def view_link(base_url: str, experiment_id: str, key: str, *, charts: bool = False) -> str:
    """The link that opens a preset view (a script's name, or ``sweep-ID``) as a table or as charts."""
    mode = "&compareRunsMode=CHART" if charts else ""
    share = quote(key, safe="")
    return (
        f"{base_url}/#/experiments/{experiment_id}/runs?viewStateShareKey={share}&workflowType=machine_learning{mode}"
    )


def run_link(base_url: str, experiment_id: str, run_id: str) -> str:
    """The link of one run's page."""
    return f"{base_url}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def _remove_old_sweeps(opened: MlflowStore, tags: Mapping[str, str]) -> None:
    sweeps = [key for key in tags if key.startswith(f"{PREFIX}{SWEEP}")]
    sweeps.sort(key=lambda key: float(json.loads(tags[key]).get("made", 0)))
    for key in sweeps[: max(0, len(sweeps) - MOST_SWEEPS)]:
        opened.client.delete_experiment_tag(opened.experiment_id, key)


def _words(metric: str) -> str:
    """``p99_ttft_ms`` -> ``TTFT p99``: the page cuts titles after some 10 characters."""
    match = TIME.fullmatch(metric)
    return f"{latency_name(match[2])} {match[1]}" if match else metric.replace("_", " ")


def _is_over_axis(section: Mapping[str, Any], script: str) -> bool:
    return str(section["uuid"]).startswith(f"{script}/")


def _section(uuid: str, name: str, *, shown: bool) -> dict[str, Any]:
    return {"uuid": uuid, "name": name, "display": shown, "isReordered": True, "deleted": False, "isGenerated": False}
