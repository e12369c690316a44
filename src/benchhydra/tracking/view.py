"""The preset view of the experiment, and links to it.

MLflow keeps a shared view in the experiment tag ``mlflow.sharedViewState.<key>`` as JSON. The format is not documented:
it was read from the web page of 3.17, to which the package pins MLflow. A link with ``viewStateShareKey`` opens it; a
search filter in the same link would switch it off, so the filter is a part of the view.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from benchhydra.render.sweep_rows import KEY_METRICS
from benchhydra.result import Result

if TYPE_CHECKING:
    from benchhydra.tracking.store import MlflowStore

PREFIX = "mlflow.sharedViewState."
KEPT_SWEEPS = 20  # a view of a sweep takes about 5 kB, and all of them are sent with each page
BARS = {
    "serving": ("p99_ttft_ms", "mean_ttft_ms", "p99_tpot_ms", "mean_tpot_ms", "p99_e2el_ms", "output_throughput"),
    "throughput": ("request_throughput", "output_throughput", "total_token_throughput"),
}
SCATTERS = {
    "serving": (
        ("achieved_rps", "p99_ttft_ms"),
        ("output_throughput", "mean_tpot_ms"),
        ("achieved_rps", "mean_e2el_ms"),
    ),
}


def preset(scripts: tuple[str, ...], search_filter: str) -> dict[str, Any]:
    """The view's state: columns, charts, filter and order."""
    metrics = dict.fromkeys(name for script in scripts for name in KEY_METRICS.get(script, ()))
    columns = ["tags.`verdict`", "tags.`model`", "params.`qps`", "attributes.`Dataset`"]
    sections = [_section(script, script.capitalize(), shown=True) for script in scripts]
    return {
        "searchFilter": search_filter,
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": columns + [f"metrics.`{name}`" for name in metrics],
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": [chart for script in scripts for chart in _charts(script)],
        "compareRunSections": [*sections, _section("rest", "Model metrics", shown=False)],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "groupBy": None,
    }


def publish(opened: MlflowStore, result: Result) -> None:
    """Put the views of the result's script and of its sweep into the experiment, where they are not there already."""
    tags = opened.client.get_experiment(opened.experiment_id).tags
    views = {result.script: preset((result.script,), f"tags.script = '{result.script}'")}
    if result.sweep_id:
        state = preset(tuple(BARS), f"tags.sweep_id = '{result.sweep_id}'")
        views[f"sweep-{result.sweep_id}"] = state
    for key, state in views.items():
        known = json.loads(tags.get(PREFIX + key, "{}"))
        if {k: v for k, v in known.items() if k != "made"} != state:
            text = json.dumps(state | {"made": result.epoch_time})
            opened.client.set_experiment_tag(opened.experiment_id, PREFIX + key, text)
    _prune(opened, tags)


def _prune(opened: MlflowStore, tags: dict[str, str]) -> None:
    sweeps = [key for key in tags if key.startswith(f"{PREFIX}sweep-")]
    sweeps.sort(key=lambda key: float(json.loads(tags[key]).get("made", 0)))
    for key in sweeps[: max(0, len(sweeps) - KEPT_SWEEPS)]:
        opened.client.delete_experiment_tag(opened.experiment_id, key)


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


def _section(uuid: str, name: str, *, shown: bool) -> dict[str, Any]:
    return {"uuid": uuid, "name": name, "display": shown, "isReordered": True, "deleted": False, "isGenerated": False}


def _charts(script: str) -> list[dict[str, Any]]:
    bars = [_chart("BAR", script, metric, metricKey=metric) for metric in BARS.get(script, ())]
    return bars + [
        _chart("SCATTER", script, f"{x}-{y}", xaxis={"key": x, "type": "METRIC"}, yaxis={"key": y, "type": "METRIC"})
        for x, y in SCATTERS.get(script, ())
    ]


def _chart(kind: str, script: str, name: str, **more: Any) -> dict[str, Any]:
    fixed = {"uuid": f"{script}-{kind}-{name}", "type": kind, "metricSectionId": script, "runsCountToCompare": 100}
    return fixed | {"deleted": False, "isGenerated": False} | more
