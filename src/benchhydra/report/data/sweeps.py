"""A sweep: its points as a table, a row each, with the rank of each value among those of its load; then its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchhydra.analysis.runs import MetricKind, Run, Runs, ScriptHighlights
from benchhydra.render.figures import setting_text
from benchhydra.render.shared_lines import shared_lines
from benchhydra.report.data.answers import answers_data
from benchhydra.report.data.benchmarks import rounded
from benchhydra.report.data.details import RunDetails, distinguishing_keys, file_slug
from benchhydra.report.data.sweep_curves import axis_data, curves_data, load_axis
from benchhydra.report.data.sweep_points import QPS_COPIES, SweepPoint, points_of, short_keys
from benchhydra.result import Better, Verdict
from benchhydra.similar_texts import merge_similar

#: Values of one load whose best and worst lie closer than this have no colours.
SMALLEST_COLOURED_RANGE = 0.02
#: The verdict of a point is the gravest of its runs.
GRAVEST_FIRST = (Verdict.INVALID, Verdict.SUSPECT, Verdict.VALID)


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
    points = points_of(runs, configs, [key for key in (axis, *keys) if key in keys], axis)
    highlights = ScriptHighlights()
    for script in dict.fromkeys(run.script for run in runs):
        highlights |= source.scripts.get(script, ScriptHighlights())
    return {
        "id": file_slug(sweep_id),
        "sweep_id": sweep_id,
        "axis": axis_data(axis),
        "answers": answers_data(sweep_id, runs, {run.run_id: details[run.run_id].repeat for run in runs}),
        "tables": [sweep_table(part, details, source) for part in _by_script(points)],
        "reasons": reasons_in_lines(points),
        **curves_data(points, highlights, source.kinds),
    }


def reasons_in_lines(points: Sequence[SweepPoint]) -> list[str]:
    """Why runs are not VALID: a line for each reason, with the points that share it."""
    remarks = [(i, reason) for i, point in enumerate(points) for run in point.runs for reason in run.reasons]
    return shared_lines(remarks, [point.name for point in points])


def config_of(run: Run, details: RunDetails) -> dict[str, Any]:
    """The flat config; of a run that was read without one, what is known: its rate."""
    if details.config:
        return details.config
    try:
        return {"qps": float(run.qps)}
    except ValueError:
        return {}


def _by_script(points: Sequence[SweepPoint]) -> list[list[SweepPoint]]:
    groups: dict[str, list[SweepPoint]] = {}
    for point in points:
        groups.setdefault(point.script, []).append(point)
    return list(groups.values())


def sweep_table(points: Sequence[SweepPoint], details: Mapping[str, RunDetails], source: Runs) -> dict[str, Any]:
    """One script's points, a row each, and their runs.

    ``key``: how many of the metrics, from the first, are key metrics. 0: the results name none.
    """
    script, runs = points[0].script, [run for point in points for run in point.runs]
    measured = {metric for run in runs for metric in run.metrics}
    key_metrics = [name for name in source.scripts.get(script, ScriptHighlights()).key_metrics if name in measured]
    metrics = list(dict.fromkeys((*key_metrics, *_directed_metrics(runs, source.kinds))))
    names = short_keys(list(dict.fromkeys(key for point in points for key in point.settings)))
    return {
        "script": script,
        "metrics": metrics,
        "key": len(key_metrics),
        "settings": [{"key": key, "name": name} for key, name in names.items()],
        "points": _point_rows(points, metrics, list(names), source.kinds),
        "runs": [_run_row(point.name, run, details[run.run_id], metrics) for point in points for run in point.runs],
    }


def _directed_metrics(runs: Sequence[Run], kinds: Mapping[str, MetricKind]) -> list[str]:
    return [key for run in runs for key in run.metrics if kinds[key].better is not Better.OBSERVATION]


def _point_rows(
    points: Sequence[SweepPoint], metrics: Sequence[str], keys: Sequence[str], kinds: Mapping[str, MetricKind]
) -> list[dict[str, Any]]:
    columns = [
        ranks_within([_median(point, m) for point in points], [point.workload for point in points], kinds[m])
        for m in metrics
    ]
    return [
        {
            "name": point.name,
            "settings": [_setting(point.settings.get(key)) for key in keys],
            "runs": [file_slug(run.run_id) for run in point.runs],
            "usable": len(point.usable),
            "verdict": _gravest(point.runs).value,
            "reasons": merge_similar(reason for run in point.runs for reason in run.reasons),
            "values": [point.spread(metric) for metric in metrics],
            "spreads": [half_range(point.values(metric)) for metric in metrics],
            "ranks": [column[i] for column in columns],
        }
        for i, point in enumerate(points)
    ]


def _median(point: SweepPoint, metric: str) -> float | None:
    values = point.values(metric)
    return median(values) if values else None


def half_range(values: Sequence[float]) -> float | None:
    """Half of the range of repeats as a fraction of their median; None for a single one, and around 0."""
    middle = abs(median(values)) if values else 0.0
    return rounded((max(values) - min(values)) / 2 / middle) if len(values) > 1 and middle else None


def _setting(value: object) -> str | float | None:
    """A number stays one, so that the page can sort by it; None if the point has no such setting."""
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    return setting_text(value)


def _gravest(runs: Sequence[Run]) -> Verdict:
    return min((run.verdict for run in runs), key=GRAVEST_FIRST.index)


def _run_row(name: str, run: Run, details: RunDetails, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "run": file_slug(run.run_id),
        "name": name,
        "repeat": details.repeat,
        "verdict": run.verdict.value,
        "usable": run.usable,
        "reasons": list(run.reasons),
        "values": [rounded(run.metrics.get(metric)) for metric in metrics],
    }


def ranks_within(
    values: Sequence[float | None], loads: Sequence[tuple[str, ...]], kind: MetricKind
) -> list[float | None]:
    """The ranks of values among those of the same load: a higher load is no fault of a system."""
    ranked: list[float | None] = [None] * len(values)
    for load in dict.fromkeys(loads):
        places = [i for i, other in enumerate(loads) if other == load]
        for i, rank in zip(places, ranks([values[i] for i in places], kind), strict=True):
            ranked[i] = rank
    return ranked


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
