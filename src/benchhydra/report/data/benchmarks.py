"""The history of each benchmark, a point on one kind of machine: every run, and each metric's level over time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import numpy as np

from benchhydra.analysis.history import LevelChange, MetricHistory, metric_histories
from benchhydra.analysis.runs import Run, Runs
from benchhydra.analysis.stats import Floats, robust, student_t
from benchhydra.environment import cores
from benchhydra.report.data.details import RunDetails, common_items, file_slug

INTERVAL = 0.95
#: With fewer degrees of freedom than this (runs beyond the first of each level) there is no band.
FEWEST_DEGREES = 3
DIGITS = 6
#: From so many runs on, one process a core searches them for steps.
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


def benchmarks(source: Runs) -> list[Benchmark]:
    """The benchmarks of all runs, in order of their names."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in source.runs:
        groups.setdefault((run.machine, run.point_key), []).append(run)
    unsorted = [Benchmark(id=file_slug("\n".join(key)), runs=tuple(runs)) for key, runs in groups.items()]
    return sorted(unsorted, key=lambda b: (b.newest.script, b.newest.model, b.newest.dataset, _rate(b.newest), b.id))


def _rate(run: Run) -> float:
    try:
        return float(run.qps)
    except ValueError:
        return math.inf


def histories_of(groups: Sequence[Benchmark], source: Runs) -> list[list[MetricHistory]]:
    """The histories of each benchmark's metrics, in order; a single run has none.

    Steps in the levels of many runs are searched for on all cores.
    """
    runs_of_groups = [Runs(list(group.runs), source.kinds) for group in groups]
    if len(source.runs) < MANY_RUNS or cores() == 1:
        return [_histories(runs) for runs in runs_of_groups]
    with ProcessPoolExecutor(cores(), mp_context=get_context("spawn")) as pool:
        chunk = max(1, len(runs_of_groups) // (8 * cores()))
        return list(pool.map(_histories, runs_of_groups, chunksize=chunk))


def _histories(runs: Runs) -> list[MetricHistory]:
    if sum(run.usable for run in runs.runs) < 2:
        return []
    histories = list(metric_histories(runs))
    for history in histories:
        _ = history.noise  # computed in this process: it takes as long as the search for steps
    return histories


def benchmark_data(group: Benchmark, histories: Sequence[MetricHistory]) -> dict[str, Any]:
    """All that the page of a benchmark shows: columns of runs and metrics, and each metric's levels and changes."""
    runs = group.runs
    positions = {run.run_id: i for i, run in enumerate(runs)}
    names = dict.fromkeys(key for run in runs for key in run.metrics)
    return {
        "id": group.id,
        "key": group.newest.point_key,
        "machine": group.newest.machine,
        "runs": _run_columns(runs),
        "metrics": {name: [rounded(run.metrics.get(name)) for run in runs] for name in names},
        "levels": {history.metric: levels(history, positions) for history in histories},
        "changes": {
            history.metric: [_change(change, positions) for change in history.changes]
            for history in histories
            if history.changes
        },
        "noise": {history.metric: rounded(history.noise) for history in histories if history.noise is not None},
    }


def _run_columns(runs: Sequence[Run]) -> dict[str, list[Any]]:
    return {
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
    }


def levels(history: MetricHistory, positions: Mapping[str, int]) -> list[dict[str, Any]]:
    """The segments between changes: first and last run, level, and where 95 % of single runs are expected.

    The band is the prediction interval of a new run at that level, on the log scale: level times
    exp(+-t * noise * sqrt(1 + 1/n)), with the noise of all segments of the history; absent where that is unknown.
    positions: place of each run_id among the benchmark's runs.
    """
    logs = np.log(np.array(history.values))
    bounds = [0, *(change.step.at for change in history.changes), len(logs)]
    degrees = len(logs) - (len(bounds) - 1)
    noise = history.noise if degrees >= FEWEST_DEGREES else None
    return [
        _level(logs[start:end], noise, degrees)
        | {"from": positions[history.runs[start].run_id], "to": positions[history.runs[end - 1].run_id]}
        for start, end in pairwise(bounds)
    ]


def _level(logs: Floats, noise: float | None, degrees: int) -> dict[str, Any]:
    if noise is None:
        return {"level": rounded(math.exp(float(np.median(logs))))}
    middle = float(robust.location(logs, np.array(noise)))
    reach = student_t.quantile(0.5 + INTERVAL / 2, degrees) * noise * math.sqrt(1 + 1 / len(logs))
    return {
        "level": rounded(math.exp(middle)),
        "low": rounded(math.exp(middle - reach)),
        "high": rounded(math.exp(middle + reach)),
    }


def _change(change: LevelChange, positions: Mapping[str, int]) -> dict[str, Any]:
    return {
        "at": positions[change.after.run_id],
        "before": positions[change.before.run_id],
        "ratio": rounded(change.step.ratio - 1),
        "better": change.better,
    }


def details_data(group: Benchmark, details: Mapping[str, RunDetails], with_requests: Collection[str]) -> dict[str, Any]:
    """Configuration, environment and texts of a benchmark's runs; facts that all of them share stand once.

    with_requests: run_ids whose requests are in the report.
    """
    common = common_items([details[run.run_id].facts for run in group.runs if details[run.run_id].facts])
    runs = [_own_details(run, details[run.run_id], common, run.run_id in with_requests) for run in group.runs]
    return {"common": common, "runs": runs}


def _own_details(run: Run, details: RunDetails, common: Mapping[str, Any], requests: bool) -> dict[str, Any]:
    data = {
        "facts": {key: value for key, value in details.facts.items() if key not in common},
        "has_facts": bool(details.facts),
        "warnings": list(details.warnings),
        "failures": details.failures,
        "failure_texts": list(details.failure_texts),
        "groups": details.groups,
        "repeat": details.repeat,
        "wall_s": details.wall_s,
        "error": details.error,
        "log_tail": details.log_tail,
        "mlflow": details.mlflow,
        "requests": requests,
        "source": run.source,
    }
    return {key: value for key, value in data.items() if value not in (None, "", [], {}, False)}


def rounded(value: float | None) -> float | None:
    """A figure with the digits that a page shows, and some to spare."""
    return None if value is None else float(f"{value:.{DIGITS}g}")


def column(values: Iterable[float]) -> list[float | None]:
    """Rounded figures; NaN is None."""
    return [None if math.isnan(value) else rounded(value) for value in values]
