"""Export to github-action-benchmark's custom JSON: for each machine class, one file a direction of metrics.

The action compares each name with the same name of the previous suite, so a name holds what identifies a point, and
nothing that an upgrade changes: versions go into ``extra``. INVALID runs are never exported: a metric that fell to 0
would count as an improvement, and become the next baseline. A file with an empty array makes the action fail, so none
is written.
"""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchhydra.artifacts import write_atomic
from benchhydra.errors import ResultError
from benchhydra.formats import exporter, request_rate
from benchhydra.result import Better, Result, Verdict

FILES = {
    Better.BIGGER: "bigger_is_better.json",
    Better.SMALLER: "smaller_is_better.json",
    Better.OBSERVATION: "observation_metrics.json",
}
UNKNOWN_MACHINE = "unknown-machine"


@exporter("gha")
def export(results: Sequence[Result], directory: Path) -> list[Path]:
    """Write ``DIR/MACHINE_CLASS/{bigger_is_better,smaller_is_better,observation_metrics}.json``.

    Raises ResultError if no result is ok, not INVALID and has metrics, and OSError.
    """
    usable = [result for result in results if believable(result) and result.metrics]
    if not usable:
        raise ResultError(
            f"nothing to export: all {len(results)} results failed or are INVALID, or have no metric",
            hint="each result.json has the reasons",
        )
    paths = []
    for machine, group in _group_by(usable, machine_class).items():
        for better, rows in _entries(group).items():
            path = directory / machine / FILES[better]
            write_atomic(path, json.dumps(rows, indent=1, allow_nan=False) + "\n")
            paths.append(path)
    return paths


def believable(result: Result) -> bool:
    """Whether a result may be compared with others."""
    return result.status == "ok" and result.verdict is not Verdict.INVALID


def machine_class(result: Result) -> str:
    """The class of the result's machine, as a directory name: each class is a suite of its own."""
    return _slug(str(result.environment.get("machine_class") or UNKNOWN_MACHINE))


def point_name(result: Result) -> str:
    """``model/dataset/load``: what identifies the point, without versions."""
    model = result.model.rstrip("/").rsplit("/", 1)[-1] or "model"
    return "/".join(_slug(part) for part in (model, result.dataset or "synthetic", _load(result)))


def _load(result: Result) -> str:
    config = result.config
    rate, in_flight = request_rate(result), _config_value(config, "load.max_in_flight")
    parts = {
        "qps": None if rate == "inf" and in_flight is not None else rate,
        "c": in_flight,
        "n": config.get("num_prompts") or result.metadata.get("num_prompts"),
        "in": _config_value(config, "dataset.prompt_tokens"),
        "out": _config_value(config, "dataset.output_tokens"),
        "burst": _config_value(config, "load.size"),
        "from": _config_value(config, "load.start_qps"),
        "tp": result.tensor_parallel_size if result.tensor_parallel_size > 1 else None,
        "sparsity": _config_value(config, "sparsity.name"),
    }
    values = [f"{key}={_number(value)}" for key, value in parts.items() if value is not None]
    return ",".join([result.script or "run", *values])


def _entries(results: Sequence[Result]) -> dict[Better, list[dict[str, Any]]]:
    entries: dict[Better, list[dict[str, Any]]] = defaultdict(list)
    for name, repeats in _points(results).items():
        for key, metric in repeats[0].metrics.items():
            values = [value for value in (result.value(key) for result in repeats) if value is not None]
            entry = {"name": f"{name}/{key}", "value": statistics.fmean(values), "unit": metric.unit}
            if len(values) > 1:
                entry["range"] = f"± {statistics.stdev(values):.4g}"
            entries[metric.better].append({**entry, "extra": _extra(repeats)})
    return entries


def _points(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Name -> repeats. Names that several points share get a part of the point key appended."""
    named: dict[str, list[Result]] = {}
    for name, namesakes in _group_by(results, point_name).items():
        by_key = _group_by(namesakes, lambda result: result.point_key)
        named |= {name if len(by_key) == 1 else f"{name},{key[:8]}": repeats for key, repeats in by_key.items()}
    return named


def _extra(repeats: Sequence[Result]) -> str:
    result = repeats[0]
    packages, git = result.environment.get("packages") or {}, result.environment.get("git") or {}
    facts = {
        "engine": result.engine_version,
        **{name: packages.get(name) for name in ("benchhydra", "python", "torch")},
        "commit": git.get("commit"),
        "point": result.point_key,
        "repeats": len(repeats),
        "verdict": Verdict.SUSPECT if any(r.verdict is Verdict.SUSPECT for r in repeats) else Verdict.VALID,
    }
    return "\n".join(f"{key}: {value}" for key, value in facts.items() if value is not None)


def _group_by(results: Iterable[Result], key: Any) -> dict[str, list[Result]]:
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        groups[key(result)].append(result)
    return dict(groups)


def _config_value(config: Mapping[str, Any], path: str) -> Any:
    value: Any = config
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.,=+-]+", "-", text).strip("-") or "-"
