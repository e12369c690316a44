"""What came of each point, and what a sweep says about it: outcomes, repeats summed up, ``sweep.json``."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchhydra.artifacts import RESULT_FILE
from benchhydra.errors import ResultError
from benchhydra.result import Result
from benchhydra.sweep import Identity, PlannedPoint
from benchhydra.sweep.plan.resume import read_json

#: Statuses that make the sweep exit non-zero.
BAD = ("failed", "invalid", "interrupted", "skipped")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One point's end. It crosses process borders, so it holds plain values only.

    status: ok; failed (an error); invalid (measured, and refused by script.fail_on); interrupted; skipped (never
    started, because the sweep stopped). ``kept``: an earlier measurement that was not repeated.
    """

    overrides: tuple[str, ...]
    directory: str
    point_key: str
    variant: str = ""
    repeat: int = 0
    status: str = "ok"
    verdict: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    log_tail: str | None = None
    engine_version: str | None = None
    server_starts: int = 0
    wall_s: float | None = None
    kept: bool = False
    extra: bool = False  # a repeat that sweep.ci added

    @property
    def identity(self) -> Identity:
        return Identity(self.point_key, self.variant, self.repeat)


def outcome_of_result(point: PlannedPoint, result: Result, **more: Any) -> Outcome:
    """The outcome that a point's result tells of."""
    return blank_outcome(
        point,
        status=more.pop("status", result.status),
        verdict=str(result.verdict),
        metrics={key: metric.value for key, metric in result.metrics.items()},
        error=more.pop("error", result.error),
        log_tail=result.log_tail,
        engine_version=result.engine_version,
        wall_s=result.wall_s,
        **more,
    )


def blank_outcome(point: PlannedPoint, **more: Any) -> Outcome:
    """An outcome of a planned point that says nothing but what is given."""
    key, variant, repeat = point.identity
    return Outcome(
        overrides=point.overrides, directory=point.directory, point_key=key, variant=variant, repeat=repeat, **more
    )


def outcome_from_disk(point: PlannedPoint, otherwise: Outcome, **more: Any) -> Outcome:
    """The outcome in the point's ``result.json``, or ``otherwise`` where there is none that can be read."""
    if not (Path(point.directory) / RESULT_FILE).exists():
        return otherwise
    try:
        return outcome_of_result(point, Result.read(Path(point.directory)), **more)
    except ResultError:
        return otherwise


def first_line(text: str | None) -> str:
    """What an error says before it quotes a log."""
    return ((text or "").strip().splitlines() or ["no reason is known"])[0]


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """(mean, half-width of its 95 % t-interval); None below two values."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), half


def narrow_enough(values: Sequence[float], share: float) -> bool:
    """Whether the 95 % interval's half-width is at most this share of the mean."""
    known = t_interval(values)
    return known is not None and known[1] <= share * abs(known[0])


def summarize_repeats(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Points measured more than once: mean and 95 % t-interval of every metric that each repeat has."""
    by_point: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status == "ok":
            by_point.setdefault(outcome.identity[:2], []).append(outcome)
    return [_repeated(members) for members in by_point.values() if len(members) > 1]


def _repeated(members: list[Outcome]) -> dict[str, Any]:
    shared = set.intersection(*(set(member.metrics) for member in members))
    metrics = {}
    for name in (name for name in members[0].metrics if name in shared):
        known = t_interval([member.metrics[name] for member in members])
        if known is not None:
            mean, half = known
            metrics[name] = {"mean": mean, "low": mean - half, "high": mean + half}
    first = members[0]
    return {
        "overrides": [override for override in first.overrides if not override.startswith("repeat=")],
        "point_key": first.point_key,
        "variant": first.variant,
        "repeats": len(members),
        "confidence": 0.95,
        "metrics": metrics,
    }


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON file atomically. Raises ResultError."""
    temporary = path.with_name(f"{path.name}.tmp{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ResultError(f"cannot write {path}: {error.strerror}", hint="hydra.sweep.dir=DIR moves it") from error


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome as it is kept in journals."""
    return asdict(outcome)


def read_journal(path: Path) -> tuple[list[Outcome], bool]:
    """(outcomes so far, whether the group has finished) of a group's journal; nothing where there is none."""
    data = read_json(path) or {}
    known = [Outcome(**{**entry, "overrides": tuple(entry["overrides"])}) for entry in data.get("outcomes", [])]
    return known, bool(data.get("finished"))


def counted_starts(journal: Path) -> int:
    """Server starts that a group's journal counts."""
    return int((read_json(journal) or {}).get("server_starts", 0))
