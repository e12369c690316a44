"""All the data of a report, piece by piece: the index, and what is loaded when it is shown.

| piece | holds |
|---|---|
| index | metrics, benchmarks, sweeps: what lists and filters need |
| metrics/NAME | newest value, a short past and the last change of one metric, for every benchmark |
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
from typing import Any

from benchhydra import __version__
from benchhydra.analysis.history import MetricHistory
from benchhydra.analysis.runs import MetricKind, Run, Runs
from benchhydra.metrics import table
from benchhydra.report import NEWEST_REQUESTS
from benchhydra.report.data import requests as _requests
from benchhydra.report.data.benchmarks import (
    Benchmark,
    MetricPast,
    benchmarks,
    history,
    metric_pasts,
    rounded,
    run_details,
)
from benchhydra.report.data.details import Detail, detail, file_slug, telling_apart
from benchhydra.report.data.sweeps import runs_by_sweep, sweep_data
from benchhydra.result import LEGACY_KEY_METRICS as KEY_METRICS

#: Values of the small line in a list.
SPARK = 40
#: Keys that tell benchmarks of the same name apart, at most so many of them.
MOST_KEYS = 4

Piece = tuple[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Site:
    """What goes into a report. repository: address of the commits' repository; empty is unknown."""

    found: Runs
    title: str
    sources: tuple[str, ...] = ()
    repository: str = ""
    newest_requests: int = NEWEST_REQUESTS
    comparison: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def groups(self) -> list[Benchmark]:
        """The benchmarks."""
        return benchmarks(self.found)

    @cached_property
    def details(self) -> dict[str, Detail]:
        """The details of every run, by run_id."""
        return {run.run_id: detail(run) for run in self.found.runs}

    @cached_property
    def places(self) -> dict[str, str]:
        """The benchmark's id of every run_id."""
        return {run.run_id: group.id for group in self.groups for run in group.runs}

    @cached_property
    def with_requests(self) -> list[Run]:
        """The newest runs that have records, oldest first, as many as are wanted."""
        there = [run for run in self.found.runs if self.details[run.run_id].records is not None]
        return there[max(0, len(there) - self.newest_requests) :]

    def pieces(self) -> Iterator[Piece]:
        """Every piece of data with its name; the index is the last."""
        found = metric_pasts(self.groups, self.found)
        yield from self._benchmarks(found)
        yield from self._metrics(found)
        levels = dict(self._requests_kept())
        yield from ((f"requests/{file_slug(run_id)}", data) for run_id, data in levels.items())
        yield from self._sweeps({run_id: data["quantiles"] for run_id, data in levels.items()})
        if self.comparison:
            yield (
                "comparison",
                self.comparison | {"benchmarks": {file_slug(key): at for key, at in self.places.items()}},
            )
        yield "index", self._index()

    def _benchmarks(self, found: Sequence[Sequence[MetricPast]]) -> Iterator[Piece]:
        requests = {run.run_id: True for run in self.with_requests}
        for group, past in zip(self.groups, found, strict=True):
            yield f"benchmarks/{group.id}", history(group, past)
            yield f"details/{group.id}", run_details(group, self.details, requests)

    def _metrics(self, found: Sequence[Sequence[MetricPast]]) -> Iterator[Piece]:
        by_metric = [{past.series.metric: past.series for past in each} for each in found]
        for name in metric_names(self.found):
            yield (
                f"metrics/{file_slug(name)}",
                {"rows": [_spark(group, name, by_metric[i].get(name)) for i, group in enumerate(self.groups)]},
            )

    def _requests_kept(self) -> Iterator[Piece]:
        for run in self.with_requests:
            file = self.details[run.run_id].records
            if file is not None:
                yield run.run_id, _requests.run_requests(file)

    def _sweeps(self, quantiles: Mapping[str, Any]) -> Iterator[Piece]:
        for sweep_id, runs in runs_by_sweep(self.found.runs).items():
            data = sweep_data(sweep_id, runs, self.details, self.found.kinds)
            ids = [run.run_id for run in runs]
            data |= {
                "time": round(runs[0].epoch_time, 3),
                "description": next((run.description for run in runs if run.description), ""),
                "benchmarks": {file_slug(run_id): self.places[run_id] for run_id in ids},
                "quantiles": {file_slug(run_id): quantiles[run_id] for run_id in ids if run_id in quantiles},
            }
            yield f"sweeps/{data['id']}", data

    def _index(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "sources": list(self.sources),
            "made": round(time.time()),
            "version": __version__,
            "repository": self.repository,
            "results": len(self.found.runs),
            "with_requests": len(self.with_requests),
            "left_out": len(self.found.faults),
            "metrics": {name: _kind(self.found.kinds[name], name) for name in metric_names(self.found)},
            "key_metrics": {script: list(names) for script, names in KEY_METRICS.items()},
            "benchmarks": [_listed(group, apart) for group, apart in zip(self.groups, self._apart(), strict=True)],
            "sweeps": [_listed_sweep(sweep_id, runs) for sweep_id, runs in runs_by_sweep(self.found.runs).items()],
            "comparison": bool(self.comparison),
        }

    def _apart(self) -> list[str]:
        """What tells each benchmark from the others of the same name: ``engine.args.max_num_seqs=64``."""
        same: dict[tuple[str, str], list[Benchmark]] = {}
        for group in self.groups:
            same.setdefault((group.newest.label, group.newest.machine), []).append(group)
        keys = {name: self._keys(groups) for name, groups in same.items() if len(groups) > 1}
        return [self._said(group, keys.get((group.newest.label, group.newest.machine), [])) for group in self.groups]

    def _keys(self, groups: Sequence[Benchmark]) -> list[str]:
        return telling_apart([self.details[group.newest.run_id].config for group in groups])[:MOST_KEYS]

    def _said(self, group: Benchmark, keys: Sequence[str]) -> str:
        config = self.details[group.newest.run_id].config
        return " ".join(f"{key}={config[key]}" for key in keys if key in config)


def metric_names(found: Runs) -> list[str]:
    """Every metric of the runs: key metrics first, then in the order of the metric table, then others by name."""
    there = {key for run in found.runs for key in run.metrics}
    first = [name for names in KEY_METRICS.values() for name in names]
    ordered = dict.fromkeys([*first, *table(), *sorted(there)])
    return [name for name in ordered if name in there]


def _kind(kind: MetricKind, name: str) -> dict[str, str]:
    declared = table().get(name)
    return {
        "unit": kind.unit,
        "better": kind.better.value,
        "file": file_slug(name),
        "doc": declared.doc if declared else "",
    }


def _spark(group: Benchmark, name: str, one: MetricHistory | None) -> list[Any] | None:
    """Newest value, short past, ratio of the last change and whether it was for the better."""
    values = [run.metrics[name] for run in group.usable if name in run.metrics]
    if not values:
        return None
    last = one.changes[-1] if one and one.changes else None
    change = [rounded(last.step.ratio - 1), last.better] if last else [None, None]
    return [rounded(values[-1]), [rounded(value) for value in values[-SPARK:]], *change]


def _listed(group: Benchmark, apart: str) -> dict[str, Any]:
    newest = group.newest
    return {
        "id": group.id,
        "script": newest.script,
        "model": newest.model,
        "dataset": newest.dataset,
        "qps": newest.qps,
        "machine": newest.machine,
        "apart": apart,
        "description": newest.description,
        "runs": len(group.runs),
        "unusable": len(group.runs) - len(group.usable),
        "verdict": newest.verdict.value if newest.status == "ok" else f"{newest.verdict.value}, {newest.status}",
        "time": round(newest.epoch_time),
    }


def _listed_sweep(sweep_id: str, runs: Sequence[Run]) -> dict[str, Any]:
    said = [run.verdict.value for run in runs]
    return {
        "id": file_slug(sweep_id),
        "time": round(runs[0].epoch_time),
        "runs": len(runs),
        "verdicts": {verdict: said.count(verdict) for verdict in dict.fromkeys(said)},
        "scripts": list(dict.fromkeys(run.script for run in runs)),
        "models": list(dict.fromkeys(run.model for run in runs)),
        "datasets": list(dict.fromkeys(run.dataset for run in runs)),
        "machines": list(dict.fromkeys(run.machine for run in runs)),
        "description": next((run.description for run in runs if run.description), ""),
    }
