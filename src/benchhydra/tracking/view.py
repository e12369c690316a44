"""The preset views of the experiment (columns, charts, filter), and links to them.

MLflow stores a shared view as JSON in the experiment tag ``mlflow.sharedViewState.<key>``. The format is undocumented:
it was taken from the web page of 3.17, to which the package pins MLflow. A link with ``viewStateShareKey`` opens the
view. A search filter in the same link would disable it, so the filter is part of the view.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from benchhydra.result import Result

if TYPE_CHECKING:
    from benchhydra.tracking.store import MlflowStore

PREFIX = "mlflow.sharedViewState."
SWEEP = "sweep-"
REST = "rest"
MOST_SWEEPS = 20  # a sweep's view takes about 5 kB, and MLflow sends all views with each page
COLUMNS = ("tags.`verdict`", "tags.`model`", "params.`qps`", "attributes.`Dataset`")


def preset(result: Result, search_filter: str, old: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a view: columns, charts, filter and order.

    old: the previous state of a sweep's view, whose charts and columns of other scripts are kept; else empty.
    """
    script = result.script
    metrics = [f"metrics.`{name}`" for name in result.key_metrics]
    charts = [chart for chart in old.get("compareRunCharts", ()) if chart["metricSectionId"] != script]
    sections = [section for section in old.get("compareRunSections", ()) if section["uuid"] not in (script, REST)]
    sections.append(_section(script, script.capitalize(), shown=True))
    return {
        "searchFilter": search_filter,
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": list(dict.fromkeys([*COLUMNS, *old.get("selectedColumns", ()), *metrics])),
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": sorted([*charts, *_charts(result)], key=lambda chart: str(chart["metricSectionId"])),
        "compareRunSections": [
            *sorted(sections, key=lambda section: str(section["uuid"])),
            _section(REST, "Model metrics", shown=False),
        ],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "groupBy": None,
    }


def publish(opened: MlflowStore, result: Result) -> None:
    """Write the views of the result's script and of its sweep to the experiment if they have changed.

    Removes the views of all but the ``MOST_SWEEPS`` newest sweeps.
    """
    tags = opened.client.get_experiment(opened.experiment_id).tags
    filters = {result.script: f"tags.script = '{result.script}'"}
    if result.sweep_id:
        filters[f"{SWEEP}{result.sweep_id}"] = f"tags.sweep_id = '{result.sweep_id}'"
    for key, search_filter in filters.items():
        old = json.loads(tags.get(PREFIX + key, "{}"))
        old.pop("made", None)
        state = preset(result, search_filter, old if key.startswith(SWEEP) else {})
        if state != old:
            text = json.dumps(state | {"made": result.epoch_time})
            opened.client.set_experiment_tag(opened.experiment_id, PREFIX + key, text)
    _remove_old_sweeps(opened, tags)


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
    return f"{base_url}/#/experiments/{experiment_id}/runs/{run_id}"


def _remove_old_sweeps(opened: MlflowStore, tags: Mapping[str, str]) -> None:
    sweeps = [key for key in tags if key.startswith(f"{PREFIX}{SWEEP}")]
    sweeps.sort(key=lambda key: float(json.loads(tags[key]).get("made", 0)))
    for key in sweeps[: max(0, len(sweeps) - MOST_SWEEPS)]:
        opened.client.delete_experiment_tag(opened.experiment_id, key)


def _section(uuid: str, name: str, *, shown: bool) -> dict[str, Any]:
    return {"uuid": uuid, "name": name, "display": shown, "isReordered": True, "deleted": False, "isGenerated": False}


def _charts(result: Result) -> list[dict[str, Any]]:
    """One bar chart for each key metric, and one scatter plot for each (x, y) in the result's ``charts``."""
    bars = [_chart("BAR", result.script, metric, metricKey=metric) for metric in result.key_metrics]
    return bars + [
        _chart(
            "SCATTER",
            result.script,
            f"{x}-{y}",
            xaxis={"key": x, "type": "METRIC"},
            yaxis={"key": y, "type": "METRIC"},
        )
        for x, y in result.charts
    ]


def _chart(kind: str, script: str, name: str, **axes: Any) -> dict[str, Any]:
    fixed = {"uuid": f"{script}-{kind}-{name}", "type": kind, "metricSectionId": script, "runsCountToCompare": 100}
    return fixed | {"deleted": False, "isGenerated": False} | axes
