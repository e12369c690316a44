"""All the data of a report, piece by piece: the index, and what is loaded when it is shown.

| piece | holds |
|---|---|
| index | metrics, benchmarks, sweeps: what lists and filters need |
| metrics/NAME | newest value, recent values and the last change of one metric, for every benchmark |
| benchmarks/ID | every run of a benchmark, all metrics, levels and changes |
| details/ID | configuration, environment and texts of those runs |
| requests/ID | one run's requests |
| sweeps/ID | a sweep |
| comparison | two sources, side by side |
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchhydra import __version__
from benchhydra.analysis.history import MetricHistory
from benchhydra.analysis.runs import Run, Runs
from benchhydra.errors import ResultError
from benchhydra.metrics import declared, table
from benchhydra.report import NEWEST_REQUESTS
from benchhydra.report.data.benchmarks import (
    Benchmark,
    benchmark_data,
    benchmarks,
    details_data,
    histories_of,
    rounded,
)
from benchhydra.report.data.details import RunDetails, distinguishing_keys, file_slug, read_details
from benchhydra.report.data.requests import run_requests
from benchhydra.report.data.sweeps import runs_by_sweep, sweep_data

#: Recent values in the small line of a list.
RECENT_VALUES = 40
#: Keys that distinguish benchmarks of the same name, at most so many of them.
MOST_KEYS = 4

#: The name of a piece and its data.
Piece = tuple[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Site:
    """What goes into a report. repository: address of the commits' repository; empty is unknown."""

    results: Runs
    title: str
    sources: tuple[str, ...] = ()
    repository: str = ""
    newest_requests: int = NEWEST_REQUESTS
    comparison: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def benchmarks(self) -> list[Benchmark]:
        """The benchmarks."""
        return benchmarks(self.results)

    @cached_property
    def details(self) -> dict[str, RunDetails]:
        """The details of every run, by run_id."""
        return {run.run_id: read_details(run) for run in self.results.runs}

    @cached_property
    def benchmark_ids(self) -> dict[str, str]:
        """The benchmark's id of every run_id."""
        return {run.run_id: group.id for group in self.benchmarks for run in group.runs}

    @cached_property
    def with_requests(self) -> list[Run]:
        """The newest runs that have records, oldest first, as many as are wanted; without those that are damaged."""
        return [run for run in self._recorded if not isinstance(self._requests[run.run_id], ResultError)]

    def faults(self) -> list[str]:
        """What of the results could not be read, and why."""
        details = [details.fault for details in self.details.values() if details.fault]
        return details + [item.message for item in self._requests.values() if isinstance(item, ResultError)]

    @cached_property
    def _recorded(self) -> list[Run]:
        recorded = [run for run in self.results.runs if self.details[run.run_id].records is not None]
        return recorded[max(0, len(recorded) - self.newest_requests) :]

    @cached_property
    def _requests(self) -> dict[str, dict[str, Any] | ResultError]:
        """The requests of the newest runs, or why they cannot be read, by run_id."""
        return {run.run_id: _requests_of(self.details[run.run_id].records) for run in self._recorded}

    def pieces(self) -> Iterator[Piece]:
        """Every piece of data with its name; the index is the last."""
        histories = histories_of(self.benchmarks, self.results)
        yield from self._benchmark_pieces(histories)
        yield from self._metric_pieces(histories)
        requests = {id: data for id, data in self._requests.items() if not isinstance(data, ResultError)}
        yield from ((f"requests/{file_slug(run_id)}", data) for run_id, data in requests.items())
        yield from self._sweep_pieces({run_id: data["quantiles"] for run_id, data in requests.items()})
        if self.comparison:
            ids = {file_slug(run_id): benchmark_id for run_id, benchmark_id in self.benchmark_ids.items()}
            yield "comparison", self.comparison | {"benchmarks": ids}
        yield "index", self._index()

    def _benchmark_pieces(self, histories: Sequence[Sequence[MetricHistory]]) -> Iterator[Piece]:
        with_requests = {run.run_id for run in self.with_requests}
        for group, of_group in zip(self.benchmarks, histories, strict=True):
            yield f"benchmarks/{group.id}", benchmark_data(group, of_group)
            yield f"details/{group.id}", details_data(group, self.details, with_requests)

    def _metric_pieces(self, histories: Sequence[Sequence[MetricHistory]]) -> Iterator[Piece]:
        by_metric = [{history.metric: history for history in of_group} for of_group in histories]
        for name in metric_names(self.results):
            groups = zip(self.benchmarks, by_metric, strict=True)
            rows = [_metric_summary(group, name, of_group.get(name)) for group, of_group in groups]
            yield f"metrics/{file_slug(name)}", {"rows": rows}

    def _sweep_pieces(self, quantiles: Mapping[str, Any]) -> Iterator[Piece]:
        for sweep_id, runs in runs_by_sweep(self.results.runs).items():
            ids = [run.run_id for run in runs]
            data = sweep_data(sweep_id, runs, self.details, self.results) | {
                "time": round(runs[0].epoch_time, 3),
                "description": next((run.description for run in runs if run.description), ""),
                "benchmarks": {file_slug(run_id): self.benchmark_ids[run_id] for run_id in ids},
                "quantiles": {file_slug(run_id): quantiles[run_id] for run_id in ids if run_id in quantiles},
            }
            yield f"sweeps/{data['id']}", data

    def _index(self) -> dict[str, Any]:
        settings = distinguishing_settings(self.benchmarks, self.details)
        return {
            "title": self.title,
            "sources": list(self.sources),
            "made": round(time.time()),
            "version": __version__,
            "repository": self.repository,
            "results": len(self.results.runs),
            "with_requests": len(self.with_requests),
            "left_out": len(self.results.faults),
            "metrics": {name: _metric(self.results, name) for name in metric_names(self.results)},
            "benchmarks": [
                _benchmark_summary(group, of_group) for group, of_group in zip(self.benchmarks, settings, strict=True)
            ],
            "sweeps": [_sweep_summary(sweep_id, runs) for sweep_id, runs in runs_by_sweep(self.results.runs).items()],
            "comparison": bool(self.comparison),
        }


def _requests_of(records_file: Path | None) -> dict[str, Any] | ResultError:
    assert records_file is not None
    try:
        return run_requests(records_file)
    except ResultError as error:
        return error


def distinguishing_settings(groups: Sequence[Benchmark], details: Mapping[str, RunDetails]) -> list[str]:
    """What distinguishes each benchmark from the others of the same name: ``engine.args.max_num_seqs=64``."""
    same_name: dict[tuple[str, str], list[dict[str, Any]]] = {}
    configs = [details[group.newest.run_id].config for group in groups]
    names = [(group.newest.label, group.newest.machine) for group in groups]
    for name, config in zip(names, configs, strict=True):
        same_name.setdefault(name, []).append(config)
    keys = {name: distinguishing_keys(of_name)[:MOST_KEYS] for name, of_name in same_name.items()}
    return [
        " ".join(f"{key}={config[key]}" for key in keys[name] if key in config)
        for name, config in zip(names, configs, strict=True)
    ]


def metric_names(results: Runs) -> list[str]:
    """Every metric of the runs: key metrics first, then in the order of the metric table, then others by name."""
    measured = {key for run in results.runs for key in run.metrics}
    key_metrics = [name for highlights in results.scripts.values() for name in highlights.key_metrics]
    return [name for name in dict.fromkeys([*key_metrics, *table(), *sorted(measured)]) if name in measured]


def _metric(results: Runs, name: str) -> dict[str, str]:
    kind, metric = results.kinds[name], declared(name)
    return {
        "unit": kind.unit,
        "better": kind.better.value,
        "file": file_slug(name),
        "doc": metric.doc if metric else "",
    }


def _metric_summary(group: Benchmark, name: str, history: MetricHistory | None) -> list[Any] | None:
    """Newest value, recent values, ratio of the last change and whether it was for the better."""
    values = [run.metrics[name] for run in group.usable if name in run.metrics]
    if not values:
        return None
    last = history.changes[-1] if history and history.changes else None
    change = [rounded(last.step.ratio - 1), last.better] if last else [None, None]
    return [rounded(values[-1]), [rounded(value) for value in values[-RECENT_VALUES:]], *change]


def _benchmark_summary(group: Benchmark, settings: str) -> dict[str, Any]:
    newest = group.newest
    return {
        "id": group.id,
        "script": newest.script,
        "model": newest.model,
        "dataset": newest.dataset,
        "load": newest.load,
        "machine": newest.machine,
        "apart": settings,
        "description": newest.description,
        "runs": len(group.runs),
        "unusable": len(group.runs) - len(group.usable),
        "verdict": newest.verdict.value if newest.status == "ok" else f"{newest.verdict.value}, {newest.status}",
        "time": round(newest.epoch_time),
    }


def _sweep_summary(sweep_id: str, runs: Sequence[Run]) -> dict[str, Any]:
    verdicts = [run.verdict.value for run in runs]
    return {
        "id": file_slug(sweep_id),
        "time": round(runs[0].epoch_time),
        "runs": len(runs),
        "verdicts": {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)},
        "scripts": list(dict.fromkeys(run.script for run in runs)),
        "models": list(dict.fromkeys(run.model for run in runs)),
        "datasets": list(dict.fromkeys(run.dataset for run in runs)),
        "machines": list(dict.fromkeys(run.machine for run in runs)),
        "description": next((run.description for run in runs if run.description), ""),
    }
