"""A sweep: its runs as tables, a row each, with the rank of each value in its column; then its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchhydra.analysis.runs import MetricKind, Run, Runs, ScriptHighlights
from benchhydra.report.data.benchmarks import rounded
from benchhydra.report.data.details import RunDetails, distinguishing_keys, file_slug
from benchhydra.report.data.sweep_curves import LOAD_KEYS, SweepPoint, curves_data, load_axis, number_of
from benchhydra.result import Better

#: Holds the same rate as ``qps``.
QPS_COPIES = ("load.qps",)
#: Columns whose best and worst values lie closer than this have no colours.
SMALLEST_COLOURED_RANGE = 0.02


def runs_by_sweep(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs of each sweep, oldest first; the newest sweep first."""
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.epoch_time):
        if run.sweep_id:
            groups.setdefault(run.sweep_id, []).append(run)
    return dict(sorted(groups.items(), key=lambda item: -item[1][-1].epoch_time))


def sweep_data(sweep_id: str, runs: Sequence[Run], details: Mapping[str, RunDetails], source: Runs) -> dict[str, Any]:
    """All that the page of a sweep shows, but the distributions and where its runs are in the report.

    source: the runs of the report, for the kinds of the metrics and what each script highlights.
    """
    configs = {run.run_id: config_of(run, details[run.run_id]) for run in runs}
    axis = load_axis(list(configs.values()))
    keys = distinguishing_keys(list(configs.values()), without=QPS_COPIES)
    names = {run.run_id: _name(configs[run.run_id], keys) or run.label for run in runs}
    highlights = ScriptHighlights()
    for script in dict.fromkeys(run.script for run in runs):
        highlights |= source.scripts.get(script, ScriptHighlights())
    points = [
        SweepPoint(
            runs=tuple(repeats),
            name=names[repeats[0].run_id],
            line=_name(configs[repeats[0].run_id], [key for key in keys if key != axis]),
            x=number_of(configs[repeats[0].run_id].get(axis)),
        )
        for repeats in _repeats(runs)
    ]
    return {
        "id": file_slug(sweep_id),
        "sweep_id": sweep_id,
        "axis": {"key": axis, "unit": LOAD_KEYS.get(axis, "")} if axis else None,
        "tables": [sweep_table(names, part, details, source) for part in _by_script(runs)],
        **curves_data(points, highlights, source.kinds),
    }


def config_of(run: Run, details: RunDetails) -> dict[str, Any]:
    """The flat config; of a run that was read without one, what is known: its rate."""
    if details.config:
        return details.config
    try:
        return {"qps": float(run.qps)}
    except ValueError:
        return {}


def _repeats(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs of each point of each machine."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.machine, run.point_key), []).append(run)
    return list(groups.values())


def _by_script(runs: Sequence[Run]) -> list[list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.script, []).append(run)
    return list(groups.values())


def _name(config: Mapping[str, Any], keys: Sequence[str]) -> str:
    return " ".join(f"{key}={_text(config[key])}" for key in keys if config.get(key) is not None)


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def sweep_table(
    names: Mapping[str, str], runs: Sequence[Run], details: Mapping[str, RunDetails], source: Runs
) -> dict[str, Any]:
    """One script's runs, a row each. ``ranks``: 0 is the column's best, 1 its worst; None has no colour.

    ``key``: how many of the metrics, from the first, are key metrics. 0: the results name none.
    """
    script = runs[0].script
    measured = {metric for run in runs for metric in run.metrics}
    key_metrics = [name for name in source.scripts.get(script, ScriptHighlights()).key_metrics if name in measured]
    metrics = list(dict.fromkeys((*key_metrics, *_directed_metrics(runs, source.kinds))))
    columns = [
        ranks([run.metrics.get(metric) if run.usable else None for run in runs], source.kinds[metric])
        for metric in metrics
    ]
    rows = [
        _row(run, names[run.run_id], details[run.run_id], metrics) | {"ranks": [column[i] for column in columns]}
        for i, run in enumerate(runs)
    ]
    return {"script": script, "metrics": metrics, "key": len(key_metrics), "rows": rows}


def _directed_metrics(runs: Sequence[Run], kinds: Mapping[str, MetricKind]) -> list[str]:
    return [key for run in runs for key in run.metrics if kinds[key].better is not Better.OBSERVATION]


def _row(run: Run, name: str, details: RunDetails, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "run": file_slug(run.run_id),
        "name": name,
        "repeat": details.repeat,
        "verdict": run.verdict.value,
        "usable": run.usable,
        "reasons": list(run.reasons),
        "values": [rounded(run.metrics.get(metric)) for metric in metrics],
    }


def ranks(values: Sequence[float | None], kind: MetricKind) -> list[float | None]:
    """Where each value lies between the best (0) and the worst (1) of its column.

    All None where the column hardly varies, or the metric has no direction.
    """
    measured = [value for value in values if value is not None]
    if kind.better is Better.OBSERVATION or len(measured) < 2:
        return [None] * len(values)
    low, high = min(measured), max(measured)
    if high - low <= SMALLEST_COLOURED_RANGE * max(abs(low), abs(high)):
        return [None] * len(values)
    smaller = kind.better is Better.SMALLER
    places = (None if value is None else (value - low) / (high - low) for value in values)
    return [None if place is None else round(place if smaller else 1 - place, 3) for place in places]
