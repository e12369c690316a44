"""The points of a sweep as rows: what varies between them names them, the rest is theirs in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchhydra.errors import ResultError
from benchhydra.result import Result

SWEEP_FILE = "sweep.json"
#: Metrics shown in tables and in MLflow's columns, by script; the summary.csv has all of them.
KEY_METRICS = {
    "serving": (
        "request_throughput",
        "output_throughput",
        "mean_ttft_ms",
        "p99_ttft_ms",
        "mean_tpot_ms",
        "p99_e2el_ms",
    ),
    "throughput": ("request_throughput", "output_throughput", "total_token_throughput"),
}
OTHER_METRICS = ("request_throughput", "output_throughput", "duration_s")


@dataclass(frozen=True, kw_only=True)
class PointRow:
    """One point: its overrides as ``key: value``, how it ended, and its result where there is one."""

    overrides: dict[str, str]
    directory: str
    status: str
    verdict: str
    error: str
    result: Result | None

    @property
    def reasons(self) -> list[str]:
        """Why it is not VALID, in sentences."""
        found = [reason.text for reason in self.result.reasons] if self.result else []
        return found or ([self.error] if self.error else [])

    @property
    def script(self) -> str:
        """The script's name; empty where there is no result."""
        return self.result.script if self.result else self.overrides.get("script", "")


@dataclass(frozen=True, kw_only=True)
class SweepRows:
    """A sweep as it is rendered: the contents of its ``sweep.json`` and a row a point."""

    facts: dict[str, Any]
    rows: list[PointRow]

    @property
    def varying(self) -> list[str]:
        """The overrides that differ between the points, in order of their first appearance."""
        return self.varying_in(self.rows)

    def varying_in(self, rows: list[PointRow]) -> list[str]:
        """The overrides that differ between some of the points."""
        keys = dict.fromkeys(key for row in rows for key in row.overrides)
        return [key for key in keys if len({row.overrides.get(key) for row in rows}) > 1]

    def name(self, row: PointRow) -> str:
        """What tells a point from the others of its sweep."""
        parts = [f"{key}={row.overrides[key]}" for key in self.varying if key in row.overrides]
        if row.result and row.result.repeat and "repeat" not in row.overrides:
            parts.append(f"repeat={row.result.repeat}")
        return " ".join(parts) or row.directory

    def descriptions(self) -> list[str]:
        """The free texts of the points, each once."""
        return list(dict.fromkeys(row.result.description for row in self.rows if row.result and row.result.description))

    def by_script(self) -> dict[str, list[PointRow]]:
        """Rows of each script, in order of first appearance."""
        groups: dict[str, list[PointRow]] = {}
        for row in self.rows:
            groups.setdefault(row.script, []).append(row)
        return groups


def read_sweep(sweep_dir: Path) -> SweepRows:
    """Read ``sweep.json`` and the result of each of its points. Raises ResultError where sweep.json is unreadable."""
    path = sweep_dir / SWEEP_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ResultError(f"cannot read {path}: {error}", hint="name the directory of a sweep") from error
    return SweepRows(facts=facts, rows=[_row(sweep_dir, point) for point in facts.get("points", ())])


def shown_metrics(rows: list[PointRow]) -> list[str]:
    """The key metrics of rows of one script that at least one of them has."""
    wanted = KEY_METRICS.get(rows[0].script, OTHER_METRICS) if rows else ()
    return [name for name in wanted if any(row.result and name in row.result.metrics for row in rows)]


def unit_of(rows: list[PointRow], metric: str) -> str:
    """The unit under which the rows report a metric."""
    return next((row.result.metrics[metric].unit for row in rows if row.result and metric in row.result.metrics), "")


def _point_dir(sweep_dir: Path, recorded: str) -> str:
    """A point's directory as seen from the sweep's: the sweep may have been moved since its paths were recorded."""
    if not recorded or not (sweep_dir / Path(recorded).name).is_dir():
        return recorded
    return Path(recorded).name


def _row(sweep_dir: Path, point: Mapping[str, Any]) -> PointRow:
    directory = _point_dir(sweep_dir, str(point.get("directory") or ""))
    try:
        result = Result.read(sweep_dir / directory) if directory else None
    except ResultError:
        result = None
    verdict = result.verdict.value if result else str(point.get("verdict") or "")
    pairs = [str(override).lstrip("+~").partition("=") for override in point.get("overrides") or ()]
    return PointRow(
        overrides={key: value for key, _, value in pairs},
        directory=directory,
        status=result.status if result else str(point.get("status") or "missing"),
        verdict=verdict,
        error=str(point.get("error") or (result.error if result else None) or ""),
        result=result,
    )
