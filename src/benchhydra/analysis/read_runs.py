"""Read runs from what a user names (a file, a point, a sweep, a tree of them); 20,000 results in seconds.

A file is decoded straight into the few fields that a comparison needs, without checking the whole schema. A tree keeps
an index file beside its results: what was read of each file, by its path, size and time of change. The index is only a
cache: it is ignored where it cannot be read, and not written where the tree is read-only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchhydra.analysis.runs import (
    UNKNOWN_MACHINE,
    MetricKind,
    Run,
    Runs,
    ScriptHighlights,
    add_highlights,
    rate_text,
)
from benchhydra.artifacts import INDEX_FILE, decode_json, write_atomic
from benchhydra.errors import ResultError
from benchhydra.result import (
    LAST_EPOCH_S,
    LEGACY_CHARTS,
    LEGACY_KEY_METRICS,
    RENAMED_METRICS,
    RENAMED_UNITS,
    SCHEMA_VERSION,
    Better,
    Verdict,
)
from benchhydra.result_files import result_paths

INDEX_VERSION = 4
MLFLOW = "mlflow:"
#: A tree with fewer results than this is read without an index file.
INDEX_FROM = 50


class _Metric(msgspec.Struct):
    unit: str
    value: float
    type: Better


class _Git(msgspec.Struct):
    commit: str = ""


class _Environment(msgspec.Struct):
    machine_class: str = UNKNOWN_MACHINE
    git: _Git = msgspec.field(default_factory=_Git)


class _Config(msgspec.Struct):
    qps: float | str = ""


class _Reason(msgspec.Struct):
    text: str = ""
    check: str = ""
    severity: Verdict = Verdict.SUSPECT


class _File(msgspec.Struct):
    """The fields of ``result.json`` that a comparison needs."""

    json_schema_version: str
    run_id: str
    point_key: str
    verdict: Verdict
    status: str
    epoch_time: float
    script: str
    metrics: dict[str, _Metric] = {}
    environment: _Environment = msgspec.field(default_factory=_Environment)
    config: _Config = msgspec.field(default_factory=_Config)
    reasons: list[_Reason] = []
    sweep_id: str = ""
    model: str = ""
    dataset: str = ""
    description: str = ""
    engine_version: str = ""
    load_label: str = ""
    key_metrics: tuple[str, ...] | None = None
    charts: tuple[tuple[str, str], ...] | None = None

    def highlights(self) -> ScriptHighlights:
        """What the result shows first; results of schema 1.0.0 do not say it themselves."""
        key_metrics = LEGACY_KEY_METRICS.get(self.script, ()) if self.key_metrics is None else self.key_metrics
        charts = LEGACY_CHARTS.get(self.script, ()) if self.charts is None else self.charts
        return ScriptHighlights(key_metrics, charts)


class _Entry(msgspec.Struct, array_like=True):
    """A file as it was when it was indexed; where it is not a result of ours, ``fault`` says why."""

    mtime_ns: int
    size: int
    run: Run | None = None
    fault: str = ""


class _Index(msgspec.Struct, array_like=True):
    version: int = INDEX_VERSION
    kinds: dict[str, MetricKind] = {}
    scripts: dict[str, ScriptHighlights] = {}
    entries: dict[str, _Entry] = {}


_decoder = msgspec.json.Decoder(_File)
FromMlflow = Callable[[str], Runs]


def read_runs(source: str, from_mlflow: FromMlflow | None = None) -> Runs:
    """The runs of a source. Raises ResultError where there is none."""
    if source.startswith(MLFLOW):
        if from_mlflow is None:
            raise ResultError(f"{source}: MLflow cannot be read here", hint="name a directory of results")
        runs = from_mlflow(source.removeprefix(MLFLOW))
    else:
        runs = _from_path(Path(source))
    if not runs.runs:
        hint = runs.faults[0] if runs.faults else "a result.json, a point, a sweep or a tree of them"
        raise ResultError(f"no results in {source}", hint=hint)
    return runs


def _from_path(path: Path) -> Runs:
    if path.is_file():
        runs = Runs([], {})
        runs.runs.append(read_run(path, runs.kinds, runs.scripts))
        return runs
    if not path.is_dir():
        raise ResultError(f"no such file or directory: {path}", hint="ls outputs/ shows runs and sweeps")
    return from_tree(path)


def read_run(path: Path, kinds: dict[str, MetricKind], scripts: dict[str, ScriptHighlights]) -> Run:
    """The run in a ``result.json``; adds to ``kinds`` and ``scripts`` what it says of them. Raises ResultError."""
    result = decode_json(path, _decoder)
    if result.json_schema_version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise ResultError(f"{path} has schema version {result.json_schema_version}, not {SCHEMA_VERSION}")
    if not 0 < result.epoch_time < LAST_EPOCH_S:
        raise ResultError(f"{path} is not a benchhydra result: epoch_time {result.epoch_time:g} is no time")
    metrics = {RENAMED_METRICS.get(key, key): metric for key, metric in result.metrics.items()}
    for key, metric in metrics.items():
        if key not in kinds:
            kinds[key] = MetricKind(RENAMED_UNITS.get(metric.unit, metric.unit), metric.type)
    add_highlights(scripts, result.script, result.highlights())
    return _run(result, {key: metric.value for key, metric in metrics.items()}, str(path))


def _run(result: _File, metrics: dict[str, float], source: str) -> Run:
    return Run(
        run_id=result.run_id,
        point_key=result.point_key,
        verdict=result.verdict,
        status=result.status,
        epoch_time=result.epoch_time,
        machine=result.environment.machine_class,
        sweep_id=result.sweep_id,
        script=result.script,
        model=result.model,
        dataset=result.dataset,
        qps=rate_text(result.config.qps),
        load_label=result.load_label,
        description=result.description,
        engine_version=result.engine_version,
        commit=result.environment.git.commit,
        source=source,
        reasons=tuple(reason.text for reason in result.reasons),
        checks=tuple(reason.check for reason in result.reasons),
        invalid_checks=tuple(reason.check for reason in result.reasons if reason.severity is Verdict.INVALID),
        metrics=metrics,
    )


def from_tree(root: Path) -> Runs:
    """The runs below a directory, possibly none."""
    old = _read_index(root)
    new = _Index(kinds=dict(old.kinds), scripts=dict(old.scripts))
    runs, faults = [], []
    changed = False
    for path, stat in result_paths(str(root)):
        relative = path[len(str(root)) + 1 :]
        entry = old.entries.get(relative)
        if entry is None or (entry.mtime_ns, entry.size) != (stat.st_mtime_ns, stat.st_size):
            entry = _new_entry(path, stat, new)
            changed = True
        new.entries[relative] = entry
        if entry.run is None:
            faults.append(entry.fault)
        else:
            entry.run.source = path
            runs.append(entry.run)
    if (changed or len(new.entries) != len(old.entries)) and len(new.entries) >= INDEX_FROM:
        _write_index(root, new)
    return Runs.joined([Runs(runs, new.kinds, faults, new.scripts)])


def _new_entry(path: str, stat: os.stat_result, index: _Index) -> _Entry:
    """A tree may hold result files of other programs and half-copied ones: they are left out, with the reason."""
    try:
        return _Entry(stat.st_mtime_ns, stat.st_size, read_run(Path(path), index.kinds, index.scripts))
    except ResultError as error:
        return _Entry(stat.st_mtime_ns, stat.st_size, fault=error.message)


def _read_index(root: Path) -> _Index:
    try:
        index = msgspec.msgpack.decode((root / INDEX_FILE).read_bytes(), type=_Index)
    except (OSError, ValueError, RecursionError):
        return _Index()
    return index if index.version == INDEX_VERSION else _Index()


def _write_index(root: Path, index: _Index) -> None:
    with contextlib.suppress(OSError):  # a tree that is read-only is read without an index
        write_atomic(root / INDEX_FILE, msgspec.msgpack.encode(index))
