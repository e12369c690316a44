"""Resuming a sweep: which results of its earlier run are reused, and which points are still to be measured.

Only ``result.json`` files count, never ``sweep.json``: they are written atomically when a point ends, so they are
correct after a SIGKILL at any moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchhydra.artifacts import RESULT_FILE, SWEEP_FILE, read_json_or_none
from benchhydra.points import Identity, PlannedPoint, point_identity
from benchhydra.result import Verdict


@dataclass(frozen=True, kw_only=True)
class EarlierResult:
    """The fields of a ``result.json`` that resuming needs. believable: status ok, and the verdict is not INVALID."""

    directory: Path
    identity: Identity
    believable: bool
    engine_version: str | None
    wall_s: float | None


def read_earlier_results(root: Path) -> list[EarlierResult]:
    """The readable results ``root/*/result.json``."""
    results = (_read_result(path) for path in sorted(root.glob(f"*/{RESULT_FILE}")))
    return [result for result in results if result is not None]


def _read_result(path: Path) -> EarlierResult | None:
    data = read_json_or_none(path)
    if data is None or "point_key" not in data:
        return None
    return EarlierResult(
        directory=path.parent,
        identity=result_identity(data),
        believable=data.get("status") == "ok" and data.get("verdict") != Verdict.INVALID,
        engine_version=data.get("engine_version"),
        wall_s=data.get("wall_s"),
    )


def result_identity(data: Mapping[str, Any]) -> Identity:
    """The identity of the measurement in a ``result.json``."""
    return point_identity(data.get("config", {}))._replace(
        point_key=data["point_key"], repeat=int(data.get("repeat", 0))
    )


def relocate_points(points: Iterable[PlannedPoint], results: Iterable[EarlierResult]) -> list[PlannedPoint]:
    """The points; one that already has a result, whatever its verdict, is moved to the directory of that result."""
    directories = {result.identity: str(result.directory) for result in results}
    return [replace(point, directory=directories.get(point.identity, point.directory)) for point in points]


def split_measured(
    points: Iterable[PlannedPoint], results: Iterable[EarlierResult]
) -> tuple[list[PlannedPoint], list[EarlierResult]]:
    """(points still to be measured, results that are reused). Each point is in exactly one of the two."""
    believable = {result.identity: result for result in results if result.believable}
    missing_points: list[PlannedPoint] = []
    kept_results: list[EarlierResult] = []
    for point in points:
        if point.identity in believable:
            kept_results.append(believable[point.identity])
        else:
            missing_points.append(point)
    return missing_points, kept_results


def find_newest_sweep(root: Path, identities: set[Identity]) -> Path | None:
    """The directory of the newest sweep below ``root`` that planned exactly these; None if there is none."""
    files = sorted(root.glob(f"**/{SWEEP_FILE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files:
        data = read_json_or_none(path) or {}
        planned = {_entry_identity(entry) for entry in data.get("points", []) if not entry.get("extra")}
        if planned == identities:
            return path.parent
    return None


def _entry_identity(entry: Mapping[str, Any]) -> Identity:
    return Identity(entry.get("point_key", ""), entry.get("variant", ""), int(entry.get("repeat", 0)))
