"""Resuming a sweep: which results of its earlier run are reused, and which points are still to be measured.

Only ``result.json`` files count, never ``sweep.json``: they are written atomically when a point ends, so they are
correct after a SIGKILL at any moment.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchhydra.artifacts import RESULT_FILE, SWEEP_FILE, read_json
from benchhydra.errors import ResultError
from benchhydra.points import Identity, PlannedPoint, point_identity
from benchhydra.result import Verdict
from benchhydra.sweep.plan.check import CheckedPoint
from benchhydra.sweep.plan.point_names import directory_name


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
    try:
        result = msgspec.convert(read_json(path), _Result)
    except (ResultError, msgspec.ValidationError) as error:
        sys.stderr.write(f"{path} is damaged, and its point is measured again: {str(error).splitlines()[0]}\n")
        return None
    return EarlierResult(
        directory=path.parent,
        identity=_identity(result),
        believable=result.status == "ok" and result.verdict != Verdict.INVALID,
        engine_version=result.engine_version,
        wall_s=result.wall_s,
    )


class _Result(msgspec.Struct):
    """The fields of a ``result.json`` that resuming and estimating need."""

    point_key: str
    status: str = ""
    verdict: str = ""
    repeat: int = 0
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    engine_version: str | None = None
    wall_s: float | None = None


def result_identity(data: Mapping[str, Any]) -> Identity | None:
    """The identity of the measurement in a ``result.json``; None if it has none."""
    try:
        return _identity(msgspec.convert(data, _Result))
    except msgspec.ValidationError:
        return None


def _identity(result: _Result) -> Identity:
    return point_identity(result.config)._replace(point_key=result.point_key, repeat=result.repeat)


def place_points(
    points: Iterable[CheckedPoint], root: Path, swept: Sequence[str], results: Iterable[EarlierResult]
) -> list[PlannedPoint]:
    """The points with their directories in the sweep's directory ``root``.

    A point that already has a result, whatever its verdict, gets the directory of that result: a run with its keys in
    another order named it differently. ``swept``: the keys that come first in a directory's name.
    """
    earlier = {result.identity: str(result.directory) for result in results}
    return [
        PlannedPoint(
            overrides=point.overrides,
            directory=earlier.get(point.identity) or str(root / directory_name(point.overrides, swept)),
            identity=point.identity,
        )
        for point in points
    ]


def split_measured(
    points: Iterable[CheckedPoint], results: Iterable[EarlierResult]
) -> tuple[list[CheckedPoint], list[EarlierResult]]:
    """(points still to be measured, results that are reused). Each point is in exactly one of the two."""
    believable = {result.identity: result for result in results if result.believable}
    missing_points: list[CheckedPoint] = []
    kept_results: list[EarlierResult] = []
    for point in points:
        if point.identity in believable:
            kept_results.append(believable[point.identity])
        else:
            missing_points.append(point)
    return missing_points, kept_results


def find_newest_sweep(root: Path, identities: set[Identity]) -> Path | None:
    """The directory of the newest sweep below ``root`` that planned exactly these; None if there is none.

    A ``sweep.json`` that cannot be read is named on stderr, and skipped.
    """
    files = sorted(root.glob(f"**/{SWEEP_FILE}"), key=modified_s, reverse=True)
    return next((path.parent for path in files if _planned_identities(path) == identities), None)


def modified_s(path: Path) -> float:
    """When a file was last changed, in seconds since the epoch; 0 if that cannot be read."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _planned_identities(path: Path) -> set[Identity] | None:
    try:
        entries = msgspec.convert(read_json(path).get("points", []), list[_ListedPoint])
    except (ResultError, msgspec.ValidationError) as error:
        sys.stderr.write(f"{path} is damaged, and not considered for sweep.resume: {str(error).splitlines()[0]}\n")
        return None
    return {Identity(entry.point_key, entry.variant, entry.repeat) for entry in entries if not entry.extra}


class _ListedPoint(msgspec.Struct):
    """The fields of a point in ``sweep.json`` that resuming needs."""

    point_key: str = ""
    variant: str = ""
    repeat: int = 0
    extra: bool = False
