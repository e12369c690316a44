"""What is done already: which results in a sweep's directory may be kept, and which points are still to be measured.

Only ``result.json`` files count, never ``sweep.json``: they are written atomically when a point ends, so that they tell
the truth after a SIGKILL at any moment.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchhydra.artifacts import RESULT_FILE
from benchhydra.result import Verdict
from benchhydra.sweep import SWEEP_FILE, Identity, PlannedPoint, point_identity


@dataclass(frozen=True, kw_only=True)
class FoundResult:
    """A ``result.json`` that is there, as far as resuming is concerned."""

    directory: Path
    identity: Identity
    believable: bool
    engine_version: str | None
    wall_s: float | None


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None where there is none that can be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def found_results(root: Path) -> list[FoundResult]:
    """All results directly below the points' directories of ``root``."""
    return [done for path in sorted(root.glob(f"*/{RESULT_FILE}")) if (done := _done(path))]


def _done(path: Path) -> FoundResult | None:
    data = read_json(path)
    if data is None or "point_key" not in data:
        return None
    return FoundResult(
        directory=path.parent,
        identity=result_identity(data),
        believable=data.get("status") == "ok" and data.get("verdict") != Verdict.INVALID,
        engine_version=data.get("engine_version"),
        wall_s=data.get("wall_s"),
    )


def result_identity(data: dict[str, Any]) -> Identity:
    """The identity of the measurement that a ``result.json`` is about."""
    return point_identity(data.get("config", {}))._replace(
        point_key=data["point_key"], repeat=int(data.get("repeat", 0))
    )


def split_done(
    points: Iterable[PlannedPoint], results: Iterable[FoundResult]
) -> tuple[list[PlannedPoint], list[FoundResult]]:
    """(points still to be measured, results that are kept). Each point is in exactly one of the two."""
    kept = {done.identity: done for done in results if done.believable}
    todo: list[PlannedPoint] = []
    skipped: list[FoundResult] = []
    for point in points:
        if point.identity in kept:
            skipped.append(kept[point.identity])
        else:
            todo.append(point)
    return todo, skipped


def clean_directory(directory: Path) -> None:
    """Remove what an unfinished or failed measurement left, before its point is measured again."""
    if directory.is_dir():
        shutil.rmtree(directory)


def newest_sweep(root: Path, wanted: set[Identity]) -> Path | None:
    """The newest sweep below ``root`` whose planned points are just the wanted ones."""
    files = sorted(root.glob(f"**/{SWEEP_FILE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files:
        data = read_json(path) or {}
        planned = {_identity_of(point) for point in data.get("points", []) if not point.get("extra")}
        if planned == wanted:
            return path.parent
    return None


def _identity_of(point: dict[str, Any]) -> Identity:
    return Identity(point.get("point_key", ""), point.get("variant", ""), int(point.get("repeat", 0)))
