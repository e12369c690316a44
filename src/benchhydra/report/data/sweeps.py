"""A sweep: its runs as a table, latency against rate, throughput against latency, distributions side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchhydra.analysis.runs import MetricKind, Run
from benchhydra.report.data.benchmarks import rounded
from benchhydra.report.data.details import Detail, file_slug, telling_apart
from benchhydra.result import LEGACY_KEY_METRICS as KEY_METRICS
from benchhydra.result import Better

OTHER_METRICS = ("request_throughput", "output_throughput", "duration_s")

#: What the rate axis may be, first come first served; else any number that varies.
RATES = ("qps", "load.max_in_flight", "num_prompts")
#: The same rate under another name.
RATE_TWINS = ("load.qps",)
UNITS = {"qps": "requests/s", "load.max_in_flight": "requests in flight", "num_prompts": "prompts"}
CURVES = tuple(f"{p}_{of}_ms" for of in ("ttft", "tpot", "e2el") for p in ("median", "p99"))
THROUGHPUT = "output_throughput"
#: Columns whose best and worst values lie closer than this have no colours.
CALM_RATIO = 0.02


def runs_by_sweep(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs of each sweep, oldest first; the newest sweep first."""
    found: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.epoch_time):
        if run.sweep_id:
            found.setdefault(run.sweep_id, []).append(run)
    return dict(sorted(found.items(), key=lambda item: -item[1][-1].epoch_time))


def sweep_data(
    sweep_id: str, runs: Sequence[Run], details: Mapping[str, Detail], kinds: Mapping[str, MetricKind]
) -> dict[str, Any]:
    """All that the page of a sweep shows, but the distributions. ``benchmark`` of a row is filled in by the site."""
    configs = [config_of(run, details[run.run_id]) for run in runs]
    axis = rate_axis(runs, configs)
    keys = telling_apart(configs, without=(*RATE_TWINS,))
    named = {run.run_id: _name(config, keys) or run.label for run, config in zip(runs, configs, strict=True)}
    lines = {
        run.run_id: _name(config, [k for k in keys if k != axis]) for run, config in zip(runs, configs, strict=True)
    }
    groups = _groups(runs)
    return {
        "id": file_slug(sweep_id),
        "sweep_id": sweep_id,
        "axis": {"key": axis, "unit": UNITS.get(axis, "")} if axis else None,
        "tables": [sweep_table(named, part, details, kinds) for part in _by_script(runs)],
        "points": [_point(group, named, lines, details, axis) for group in groups],
        "fronts": {metric: front(groups, metric) for metric in CURVES},
    }


def config_of(run: Run, detail: Detail) -> dict[str, Any]:
    """The flat config; of a run that was read without one, what is known: its rate."""
    if detail.config:
        return detail.config
    try:
        return {"qps": float(run.qps)}
    except ValueError:
        return {}


def _by_script(runs: Sequence[Run]) -> list[list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.script, []).append(run)
    return list(found.values())


def _name(config: Mapping[str, Any], keys: Sequence[str]) -> str:
    return " ".join(f"{key}={_text(config[key])}" for key in keys if config.get(key) is not None)


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def rate_axis(runs: Sequence[Run], configs: Sequence[Mapping[str, Any]]) -> str:
    """The config key that latency is drawn against; empty where no number varies."""
    keys = dict.fromkeys((*RATES, *telling_apart(configs)))
    for key in keys:
        numbers = {value for config in configs if (value := number_of(config.get(key))) is not None}
        if len(numbers) > 1:
            return key
    return ""


def number_of(value: object) -> float | None:
    """A finite number, or None: ``qps=inf`` has no place on an axis."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Repeats of each point of each machine."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        found.setdefault((run.machine, run.point_key), []).append(run)
    return list(found.values())


def _point(
    group: Sequence[Run],
    named: Mapping[str, str],
    lines: Mapping[str, str],
    details: Mapping[str, Detail],
    axis: str,
) -> dict[str, Any]:
    """Repeats as one: the median of each metric, with the smallest and the largest; usable runs only."""
    first, usable = group[0], [run for run in group if run.usable]
    wanted = dict.fromkeys((*CURVES, THROUGHPUT, "request_throughput"))
    return {
        "name": named[first.run_id],
        "line": lines[first.run_id],
        "x": number_of(config_of(first, details[first.run_id]).get(axis)),
        "script": first.script,
        "runs": [file_slug(run.run_id) for run in group],
        "invalid": len(group) - len(usable),
        "suspect": sum(run.verdict.value == "SUSPECT" for run in usable),
        "values": {name: span for name in wanted if (span := _span(usable, name))},
    }


def _span(runs: Sequence[Run], metric: str) -> list[float | None]:
    values = [run.metrics[metric] for run in runs if metric in run.metrics]
    return [rounded(median(values)), rounded(min(values)), rounded(max(values))] if values else []


def front(groups: Sequence[Sequence[Run]], latency: str) -> list[int]:
    """The points that no other beats in both output throughput and latency, by rising throughput (Pareto front)."""
    spans = [(_middle(group, THROUGHPUT), _middle(group, latency)) for group in groups]
    known = [(x, y, i) for i, (x, y) in enumerate(spans) if x is not None and y is not None]
    best, kept = math.inf, []
    for _, y, i in sorted(known, key=lambda each: (-each[0], each[1])):
        if y < best:
            best = y
            kept.append(i)
    return kept[::-1]


def _middle(group: Sequence[Run], metric: str) -> float | None:
    values = [run.metrics[metric] for run in group if run.usable and metric in run.metrics]
    return median(values) if values else None


def sweep_table(
    named: Mapping[str, str], runs: Sequence[Run], details: Mapping[str, Detail], kinds: Mapping[str, MetricKind]
) -> dict[str, Any]:
    """One script's runs, a row each. ``ranks``: 0 is the column's best, 1 its worst; None has no colour."""
    wanted = dict.fromkeys((*KEY_METRICS.get(runs[0].script, OTHER_METRICS), *_judged(runs, kinds)))
    names = [name for name in wanted if any(name in run.metrics for run in runs)]
    rows = [_row(run, named[run.run_id], details[run.run_id], names) for run in runs]
    ranks = [ranked([run.metrics.get(name) if run.usable else None for run in runs], kinds[name]) for name in names]
    for row, rank in zip(rows, zip(*ranks, strict=True), strict=True) if names else ():
        row["ranks"] = list(rank)
    return {"script": runs[0].script, "metrics": names, "key": _shown_first(runs[0].script, names), "rows": rows}


def _judged(runs: Sequence[Run], kinds: Mapping[str, MetricKind]) -> list[str]:
    return [key for run in runs for key in run.metrics if kinds[key].better is not Better.OBSERVATION]


def _shown_first(script: str, names: Sequence[str]) -> int:
    """How many of the columns are the script's key metrics, which are shown at first."""
    return sum(name in KEY_METRICS.get(script, OTHER_METRICS) for name in names)


def _row(run: Run, name: str, detail: Detail, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "run": file_slug(run.run_id),
        "name": name,
        "repeat": detail.repeat,
        "verdict": run.verdict.value,
        "usable": run.usable,
        "reasons": list(run.reasons),
        "values": [rounded(run.metrics.get(metric)) for metric in metrics],
        "ranks": [],
    }


def ranked(values: Sequence[float | None], kind: MetricKind) -> list[float | None]:
    """Where each value lies between the best and the worst; all None where the column is calm or has no direction."""
    known = [value for value in values if value is not None]
    if kind.better is Better.OBSERVATION or len(known) < 2:
        return [None] * len(values)
    low, high = min(known), max(known)
    if high - low <= CALM_RATIO * max(abs(low), abs(high)):
        return [None] * len(values)
    smaller = kind.better is Better.SMALLER
    places = (None if v is None else (v - low) / (high - low) for v in values)
    return [None if p is None else round(p if smaller else 1 - p, 3) for p in places]
