"""The points of a sweep as table rows: the overrides that vary, the metrics that a table shows, the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchhydra.artifacts import SWEEP_FILE, read_json
from benchhydra.errors import ResultError
from benchhydra.render.answer_text import decisions
from benchhydra.render.figures import ARROWS, count, leaf_names, number
from benchhydra.render.shared_lines import shared_lines
from benchhydra.result import Result, Verdict

#: The most metrics in a table if no result names its key metrics.
MOST_COLUMNS = 6
#: What a search changes besides the load and the length of its probes: it tells a reader nothing.
SEARCH_KEYS = ("seed", "load.stop_when_decided")


@dataclass(frozen=True, kw_only=True)
class PointRow:
    """One point: its overrides as ``key: value``, its status and verdict, and its result if it has one.

    decision: what it decided as a probe of a search (``met``, ``missed``, ...); empty for other points.
    """

    overrides: dict[str, str]
    directory: str
    status: str
    verdict: str
    error: str
    result: Result | None
    decision: str = ""

    @property
    def reasons(self) -> list[str]:
        """Why the point is not VALID, as sentences."""
        reasons = [reason.text for reason in self.result.reasons] if self.result else []
        return reasons or ([self.error] if self.error else [])

    @property
    def script(self) -> str:
        """The name of the script; empty if it is unknown."""
        return self.result.script if self.result else self.overrides.get("script", "")

    @property
    def verdict_words(self) -> str:
        """The verdict, and the status unless it is ``ok``."""
        return self.verdict if self.status == "ok" else f"{self.verdict} ({self.status})".strip()

    def values(self, metrics: Sequence[str]) -> list[str]:
        """The formatted values of the metrics; empty for a metric that the point does not have."""
        values = [self.result.value(name) if self.result else None for name in metrics]
        return ["" if value is None else number(value) for value in values]


@dataclass(frozen=True, kw_only=True)
class SweepRows:
    """A sweep: its directory, the contents of its ``sweep.json``, and one row a point."""

    directory: Path
    facts: dict[str, Any]
    rows: list[PointRow]

    @property
    def varying(self) -> list[str]:
        """The overrides that differ between the points, in order of their first appearance."""
        return varying_overrides(self.rows)

    def name(self, row: PointRow) -> str:
        """The name of a point within its sweep: its varying overrides without groups, or its directory if none vary."""
        leaves = zip(self.varying, leaf_names(self.varying), strict=True)
        parts = [f"{leaf}={row.overrides[key]}" for key, leaf in leaves if key in row.overrides]
        if row.result and row.result.repeat and "repeat" not in row.overrides:
            parts.append(f"repeat={row.result.repeat}")
        return " ".join(parts) or row.directory

    def reasons(self) -> list[str]:
        """Why points are not VALID: one line for each reason, with the points that share it."""
        remarks = [(index, text) for index, row in enumerate(self.rows) for text in row.reasons]
        return shared_lines(remarks, [self.name(row) for row in self.rows])

    def descriptions(self) -> list[str]:
        """The descriptions of the points, each once."""
        return list(dict.fromkeys(row.result.description for row in self.rows if row.result and row.result.description))

    def by_script(self) -> dict[str, list[PointRow]]:
        """Script -> its rows, in order of first appearance."""
        groups: dict[str, list[PointRow]] = {}
        for row in self.rows:
            groups.setdefault(row.script, []).append(row)
        return groups

    def counts(self) -> str:
        """``6 points, 5 VALID, 1 INVALID, 2 server starts, 23.90 s``; unknown parts are left out."""
        parts = [count(len(self.rows), "point")]
        for verdict in Verdict:
            rows = sum(row.verdict == verdict for row in self.rows)
            if rows:
                parts.append(f"{rows} {verdict}")
        if "server_starts" in self.facts:
            parts.append(count(self.facts["server_starts"], "server start"))
        if isinstance(self.facts.get("wall_s"), int | float):
            parts.append(f"{number(round(self.facts['wall_s'], 1))} s")
        return ", ".join(parts)


def read_sweep(sweep_dir: Path) -> SweepRows:
    """Read ``sweep.json`` and the result of each of its points. Raises ResultError if sweep.json is unreadable."""
    try:
        facts = read_json(sweep_dir / SWEEP_FILE)
    except ResultError as error:
        raise ResultError(error.message, hint="name the directory of a sweep") from error
    answers = (answer for answer in facts.get("answers") or () if isinstance(answer, Mapping))
    decided = decisions(answers)
    rows = [_row(sweep_dir, point, decided) for point in facts.get("points", ())]
    return SweepRows(directory=sweep_dir, facts=facts, rows=rows)


def varying_overrides(rows: Sequence[PointRow]) -> list[str]:
    """The overrides that differ between some of the rows, in order of their first appearance.

    Without those that a search gives its probes for its own purposes.
    """
    left_out = SEARCH_KEYS if any(row.decision for row in rows) else ()
    keys = dict.fromkeys(key for row in rows for key in row.overrides if key not in left_out)
    return [key for key in keys if len({row.overrides.get(key) for row in rows}) > 1]


def table_metrics(rows: Sequence[PointRow]) -> list[str]:
    """The metrics that a table of the rows shows: key metrics that a row has; without these, the first metrics."""
    results = [row.result for row in rows if row.result]
    measured = dict.fromkeys(name for result in results for name in result.metrics)
    key_metrics = dict.fromkeys(name for result in results for name in result.key_metrics)
    return [name for name in key_metrics if name in measured] or list(measured)[:MOST_COLUMNS]


def unit_and_arrow(rows: Sequence[PointRow], metric: str) -> str:
    """The unit of a metric and the arrow of its direction: ``ms ↓``. One of the rows must have the metric."""
    value = next(row.result.metrics[metric] for row in rows if row.result and metric in row.result.metrics)
    return f"{value.unit}{ARROWS[value.better]}"


def split_overrides(words: Sequence[Any]) -> dict[str, str]:
    """Recorded overrides as ``key: value``, without a leading ``+`` or ``~``."""
    pairs = [str(word).lstrip("+~").partition("=") for word in words]
    return {key: value for key, _, value in pairs}


def _row(sweep_dir: Path, point: Mapping[str, Any], decided: Mapping[tuple[str, int], list[str]]) -> PointRow:
    directory = _point_dir(sweep_dir, str(point.get("directory") or ""))
    try:
        result = Result.read(sweep_dir / directory) if directory else None
    except ResultError:
        result = None
    decisions_of_point = decided.get((result.point_key, result.repeat)) if result else None
    return PointRow(
        overrides=split_overrides(point.get("overrides") or ()),
        directory=directory,
        status=result.status if result else str(point.get("status") or "missing"),
        verdict=result.verdict.value if result else str(point.get("verdict") or ""),
        error=str(point.get("error") or (result.error if result else None) or ""),
        result=result,
        decision=decisions_of_point.pop(0) if decisions_of_point else "",
    )


def _point_dir(sweep_dir: Path, recorded: str) -> str:
    """A point's directory relative to the sweep's if it lies there: the sweep may have moved since it was recorded."""
    if not recorded or not (sweep_dir / Path(recorded).name).is_dir():
        return recorded
    return Path(recorded).name
