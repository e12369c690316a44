"""Import of other tools' result files as ``Result``, and export of results to them. A format is one file here.

Only metrics of equal meaning are mapped: a metric that another tool defines differently is left out, and so is a zero
that it writes if nothing was measured. What an importer does not know is named in a warning of the result.
``docs/formats.md`` has the table.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from benchhydra import registry
from benchhydra.errors import ResultError
from benchhydra.formats._documents import read_documents
from benchhydra.metrics import declared
from benchhydra.result import (
    LEGACY_CHARTS,
    LEGACY_KEY_METRICS,
    Better,
    MetricValue,
    Reason,
    Result,
    Verdict,
    legacy_load_label,
    point_key,
)
from benchhydra.validity import ValidityLimits

Json = Mapping[str, Any]
#: The end of the year 9999 in seconds since 1970.
LATEST_S = 253_402_300_800
#: How many keys that were not converted are named.
SHOWN_KEYS = 12
#: Suffixes of metrics that only a result with timed requests has.
TIMED = ("_ttft_ms", "_e2el_ms")


@dataclass(frozen=True, kw_only=True)
class ImportedRun:
    """One run of another tool's file, with our names and units; None is unknown.

    intent: the config that identifies the point. interrupted: why the run is incomplete; empty if it is complete.
    metrics: by our names, in our units; NaN and infinity stand for "not measured". epoch_time: in seconds; None if the
    file has no date. failed: None if the file does not tell.
    """

    tool: str
    script: str = "serving"
    tool_version: str | None = None
    engine_version: str | None = None
    epoch_time: float | None
    model: str = ""
    tokenizer: str = ""
    dataset: str = ""
    tensor_parallel_size: int = 1
    description: str = ""
    repeat: int = 0
    intent: dict[str, Any] = field(default_factory=dict)
    completed: int | None = None
    failed: int | None = 0
    total_output: int | None = None
    interrupted: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Importer:
    """A format that can be read: ``recognizes`` tests a JSON object, ``runs`` converts the runs in it."""

    name: str
    recognizes: Callable[[Json], bool]
    runs: Callable[[Json], Sequence[ImportedRun]]


Export = Callable[[Sequence[Result], Path], list[Path]]
_importers: dict[str, Importer] = {}
_exporters: dict[str, Export] = {}


def importer(
    name: str, recognizes: Callable[[Json], bool]
) -> Callable[[Callable[[Json], Sequence[ImportedRun]]], Callable[[Json], Sequence[ImportedRun]]]:
    """Declare the function that converts a JSON object of this format to runs."""

    def declare(runs: Callable[[Json], Sequence[ImportedRun]]) -> Callable[[Json], Sequence[ImportedRun]]:
        _importers[name] = Importer(name=name, recognizes=recognizes, runs=runs)
        return runs

    return declare


def exporter(name: str) -> Callable[[Export], Export]:
    """Declare the function that writes results into a directory in this format."""

    def declare(export: Export) -> Export:
        _exporters[name] = export
        return export

    return declare


def importers() -> dict[str, Importer]:
    """The formats that can be read, by name, including those of the user's plugins."""
    _discover()
    return dict(_importers)


def exporters() -> dict[str, Export]:
    """The formats that can be written, by name, including those of the user's plugins."""
    _discover()
    return dict(_exporters)


@cache
def _discover() -> None:
    registry.import_modules(__name__)
    registry.import_plugins()


def read_foreign_results(path: Path) -> list[Result]:
    """The results in another tool's file. Raises ResultError if it cannot be read, or no format recognizes it."""
    documents = read_documents(path)
    modified_s = path.stat().st_mtime
    return [result for document in documents for result in _results(document, path, modified_s)]


def unread_keys_warning(data: Json, handled: Collection[str], what: str = "keys") -> tuple[str, ...]:
    """Return a warning that names the keys of a file that are not converted, with short values; () if there is none.

    handled: the keys that an importer reads, or leaves out on purpose. A key without a value is no loss.
    """
    left_out = {key: value for key, value in data.items() if key not in handled and value not in (None, "", [], {})}
    if not left_out:
        return ()
    texts = [f"{key}={value}" if isinstance(value, str | int | float) else str(key) for key, value in left_out.items()]
    names = ", ".join(text[:60] for text in texts[:SHOWN_KEYS])
    more = f" and {len(texts) - SHOWN_KEYS} more" if len(texts) > SHOWN_KEYS else ""
    return (f"{what} of the file that were not converted: {names}{more}",)


def to_result(run: ImportedRun, modified_s: float) -> Result:
    """Convert an imported run to a result. A run without any answered request is INVALID and has no metrics.

    modified_s: when the file was written; the date of a run that has none of its own.
    """
    _check_numbers(run)
    reasons = _reasons(run)
    undated = ("the file has no date: the run is dated with the file's modification",) if run.epoch_time is None else ()
    config = {"script": run.script, "model": {"id": run.model}, "dataset": {"name": run.dataset}, **run.intent}
    unanswered = run.completed == 0
    return Result(
        status="failed" if unanswered else "interrupted" if run.interrupted else "ok",
        verdict=reasons[0].severity if reasons else Verdict.VALID,
        reasons=reasons,
        run_id=_run_id(run),
        point_key=point_key(config),
        script=run.script,
        config=config,
        epoch_time=modified_s if run.epoch_time is None else run.epoch_time,
        repeat=run.repeat,
        description=run.description,
        model=run.model,
        tokenizer=run.tokenizer or run.model,
        dataset=run.dataset,
        tensor_parallel_size=run.tensor_parallel_size,
        engine_version=run.engine_version,
        environment=run.environment,
        metadata={"tool": run.tool, **_metadata(run), **run.metadata},
        failures={"failed": run.failed} if run.failed else {},
        metrics={} if unanswered else _metrics(run),
        key_metrics=LEGACY_KEY_METRICS.get(run.script, ()),
        charts=LEGACY_CHARTS.get(run.script, ()),
        load_label=legacy_load_label(run.script, {"qps": run.metadata.get("request_rate"), **run.intent}),
        warnings=(*run.warnings, *_not_numbers(run), *undated),
        error=reasons[0].text if unanswered else None,
    )


def request_rate(result: Result) -> float | str | None:
    """The offered rate in requests/s, "inf" if the load had none; None for a result without timed requests.

    Results that earlier versions have imported hold it only in their config.
    """
    if not any(name.endswith(TIMED) for name in result.metrics):
        return None
    imported = "tool" in result.metadata
    rate: float | str | None = result.metadata.get("request_rate", result.config.get("qps") if imported else None)
    return rate


def _results(document: Any, path: Path, modified_s: float) -> list[Result]:
    matching = [
        importer for importer in importers().values() if isinstance(document, dict) and importer.recognizes(document)
    ]
    if len(matching) != 1:
        raise ResultError(f"{path} is in no known format", hint=f"readable: {', '.join(importers())}")
    try:
        return [to_result(run, modified_s) for run in matching[0].runs(document)]
    except KeyError as error:
        raise ResultError(
            f"{path} looks like {matching[0].name}, but cannot be read: it has no {error.args[0]!r}"
        ) from error
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ResultError(f"{path} looks like {matching[0].name}, but cannot be read: {reason}") from error


def _check_numbers(run: ImportedRun) -> None:
    """Raise ValueError if a value of the file that must be a number is something else."""
    counts = {"completed": run.completed, "failed": run.failed, "total_output": run.total_output}
    for key, value in {**run.metrics, **{name: count for name, count in counts.items() if count is not None}}.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{key} is {value!r}, not a number")
    epoch_time = run.epoch_time
    if epoch_time is not None and (isinstance(epoch_time, bool) or not 0 <= float(epoch_time) < LATEST_S):
        raise ValueError(f"the date {epoch_time!r} is no time between 1970 and 9999")


def _reasons(run: ImportedRun) -> tuple[Reason, ...]:
    """Why the run is not VALID. The file has no request rows, so only some checks are possible."""
    limit, failed = ValidityLimits().failed_fraction, run.failed or 0
    total = failed + (run.completed or 0)
    if run.completed == 0:
        text = f"all {failed} requests failed" if failed else "no request was answered"
        return _reason("completed", Verdict.INVALID, text)
    if run.total_output == 0:
        return _reason("tokens", Verdict.INVALID, "no token was generated")
    if run.total_output is None and not run.metrics:
        return _reason("tokens", Verdict.INVALID, "the file has no metrics")
    if run.completed is not None and failed > limit * total:
        text = f"{failed} of {total} requests failed ({failed / total:.1%}; limit {limit:.1%})"
        return _reason("failed_fraction", Verdict.INVALID, text)
    impossible = [f"{key} is {value:g}" for key, value in run.metrics.items() if value < 0]
    if impossible:
        return _reason("impossible", Verdict.INVALID, f"impossible values: {', '.join(impossible[:3])}")
    if run.interrupted:
        return _reason("interrupted", Verdict.SUSPECT, run.interrupted)
    return ()


def _reason(check: str, severity: Verdict, text: str) -> tuple[Reason]:
    return (Reason(check=check, severity=severity, text=text),)


def _metadata(run: ImportedRun) -> dict[str, Any]:
    """The fields of nm-vllm's metadata that the tool's file has. A load without a rate has the rate "inf"."""
    rate = {"request_rate": run.intent.get("qps") or "inf"} if "load" in run.intent else {}
    values = {"tool_version": run.tool_version, "completed": run.completed, "total_output": run.total_output, **rate}
    return {key: value for key, value in values.items() if value is not None}


def _metrics(run: ImportedRun) -> dict[str, MetricValue]:
    values = dict(run.metrics)
    if run.completed is not None:
        values |= {"completed": run.completed}
        values |= {} if run.failed is None else {"failed": run.failed}
    metrics = {}
    for key, value in values.items():
        if not math.isfinite(value):
            continue
        metric = declared(key)
        unit, better = (metric.unit, metric.better) if metric else ("ms", Better.SMALLER)
        metrics[key] = MetricValue(key=key, unit=unit, value=float(value), better=better)
    return metrics


def _not_numbers(run: ImportedRun) -> tuple[str, ...]:
    """A warning that names the metrics that are NaN or infinite in the file, and so left out."""
    names = [key for key, value in run.metrics.items() if isinstance(value, float) and not math.isfinite(value)]
    return (f"no numbers in the file, and left out: {', '.join(names)}",) if names else ()


def _run_id(run: ImportedRun) -> str:
    """An id that depends only on the content, so that importing a file twice gives the same id."""
    parts = [run.tool, run.epoch_time, run.repeat, run.intent, run.metrics, run.metadata]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]
