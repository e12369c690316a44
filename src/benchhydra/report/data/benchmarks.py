"""The history of each benchmark, a point on one kind of machine: every run, and the level of each metric over time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import numpy as np

from benchhydra.analysis.history import LevelChange, MetricHistory, metric_histories
from benchhydra.analysis.runs import Run, Runs
from benchhydra.analysis.stats import robust
from benchhydra.environment import cores
from benchhydra.report.data.details import Detail, file_slug, in_common

INTERVAL = 0.95
#: Fewer runs than this beyond the first of each level give no band.
LEAST_FREEDOM = 3
DIGITS = 6
#: Series of fewer runs than this are searched for steps here; for more, by one process a core.
MANY_RUNS = 4000


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A point on one kind of machine, all its runs, oldest first, usable or not."""

    id: str
    runs: tuple[Run, ...]

    @property
    def newest(self) -> Run:
        """Its newest run."""
        return self.runs[-1]

    @cached_property
    def usable(self) -> tuple[Run, ...]:
        """Its runs that may take part in lines, bands and comparisons."""
        return tuple(run for run in self.runs if run.usable)


@dataclass(frozen=True, kw_only=True)
class MetricPast:
    """A series with its noise, which takes longer to learn than one would like to do twice."""

    series: MetricHistory
    noise: float | None


def benchmarks(found: Runs) -> list[Benchmark]:
    """The benchmarks of all runs, in order of their names."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in found.runs:
        groups.setdefault((run.machine, run.point_key), []).append(run)
    made = [Benchmark(id=file_slug("\n".join(key)), runs=tuple(runs)) for key, runs in groups.items()]
    return sorted(made, key=lambda b: (b.newest.script, b.newest.model, b.newest.dataset, _rate(b.newest), b.id))


def _rate(run: Run) -> float:
    try:
        return float(run.qps)
    except ValueError:
        return math.inf


def metric_pasts(groups: Sequence[Benchmark], found: Runs) -> list[list[MetricPast]]:
    """The past of each benchmark's metrics, in order; a single run has none.

    Change points of many runs are searched for on all cores.
    """
    work = [Runs(list(group.runs), found.kinds) for group in groups]
    if len(found.runs) < MANY_RUNS or cores() == 1:
        return [_pasts(each) for each in work]
    with ProcessPoolExecutor(cores(), mp_context=get_context("spawn")) as pool:
        return list(pool.map(_pasts, work, chunksize=max(1, len(work) // (8 * cores()))))


def _pasts(found: Runs) -> list[MetricPast]:
    if sum(run.usable for run in found.runs) < 2:
        return []
    return [MetricPast(series=one, noise=one.noise) for one in metric_histories(found)]


def history(group: Benchmark, found: Sequence[MetricPast]) -> dict[str, Any]:
    """All that the page of a benchmark shows: columns of runs and metrics, and each metric's levels and changes."""
    runs = group.runs
    at = {run.run_id: i for i, run in enumerate(runs)}
    names = dict.fromkeys(key for run in runs for key in run.metrics)
    return {
        "id": group.id,
        "key": group.newest.point_key,
        "machine": group.newest.machine,
        "runs": {
            "id": [run.run_id for run in runs],
            "file": [file_slug(run.run_id) for run in runs],
            "time": [round(run.epoch_time, 3) for run in runs],
            "verdict": [run.verdict.value for run in runs],
            "status": [run.status for run in runs],
            "usable": [run.usable for run in runs],
            "version": [run.engine_version for run in runs],
            "commit": [run.commit for run in runs],
            "sweep": [file_slug(run.sweep_id) if run.sweep_id else "" for run in runs],
            "reasons": [list(run.reasons) for run in runs],
            "description": [run.description for run in runs],
        },
        "metrics": {name: [rounded(run.metrics.get(name)) for run in runs] for name in names},
        "levels": {one.series.metric: levels(one, at) for one in found},
        "changes": {
            one.series.metric: [_change(change, at) for change in one.series.changes]
            for one in found
            if one.series.changes
        },
        "noise": {one.series.metric: rounded(one.noise) for one in found if one.noise is not None},
    }


def levels(past: MetricPast, at: Mapping[str, int]) -> list[dict[str, Any]]:
    """The stretches between changes: first and last run, level, and where 95 % of single runs are expected.

    The band is the prediction interval of a new run at that level, on the log scale: level times
    exp(+-t * noise * sqrt(1 + 1/n)), with the noise of all stretches of the series; absent where that is not known.
    """
    one = past.series
    logs = np.log(np.array(one.values))
    bounds = [0, *(change.step.at for change in one.changes), len(logs)]
    left = len(logs) - (len(bounds) - 1)
    noise = past.noise if left >= LEAST_FREEDOM else None
    return [_stretch(logs[a:b], noise, left) | _ends(one, a, b, at) for a, b in pairwise(bounds)]


def _ends(one: MetricHistory, start: int, end: int, at: Mapping[str, int]) -> dict[str, int]:
    return {"from": at[one.runs[start].run_id], "to": at[one.runs[end - 1].run_id]}


def _stretch(logs: robust.Floats, noise: float | None, freedom: int) -> dict[str, Any]:
    if noise is None:
        return {"level": rounded(math.exp(float(np.median(logs))))}
    middle = float(robust.location(logs, np.array(noise)))
    reach = robust.quantile(0.5 + INTERVAL / 2, freedom) * noise * math.sqrt(1 + 1 / len(logs))
    return {
        "level": rounded(math.exp(middle)),
        "low": rounded(math.exp(middle - reach)),
        "high": rounded(math.exp(middle + reach)),
    }


def _change(change: LevelChange, at: Mapping[str, int]) -> dict[str, Any]:
    return {
        "at": at[change.after.run_id],
        "before": at[change.before.run_id],
        "ratio": rounded(change.step.ratio - 1),
        "better": change.better,
    }


def run_details(group: Benchmark, found: Mapping[str, Detail], with_requests: Mapping[str, bool]) -> dict[str, Any]:
    """Configuration, environment and texts of a benchmark's runs; what all of them share stands once."""
    known = [found[run.run_id] for run in group.runs]
    common = in_common([each.facts for each in known if each.facts])
    own = [
        _own(run, each, common, with_requests.get(run.run_id, False))
        for run, each in zip(group.runs, known, strict=True)
    ]
    return {"common": common, "runs": own}


def _own(run: Run, each: Detail, common: Mapping[str, Any], requests: bool) -> dict[str, Any]:
    said = {
        "facts": {key: value for key, value in each.facts.items() if key not in common},
        "known": bool(each.facts),
        "warnings": list(each.warnings),
        "failures": each.failures,
        "repeat": each.repeat,
        "wall_s": each.wall_s,
        "error": each.error,
        "log_tail": each.log_tail,
        "mlflow": each.mlflow,
        "requests": requests,
        "source": run.source,
    }
    return {key: value for key, value in said.items() if value not in (None, "", [], {}, False)}


def rounded(value: float | None) -> float | None:
    """A figure with the digits that a page shows, and some to spare."""
    return None if value is None else float(f"{value:.{DIGITS}g}")


def column(values: Iterable[float]) -> list[float | None]:
    """Rounded figures; NaN is None."""
    return [None if math.isnan(value) else rounded(value) for value in values]
