"""``sweep.json``: what a sweep was asked, its points with their end, server starts, wall time, versions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchhydra import __version__
from benchhydra.sweep import SWEEP_FILE, Identity, PlannedPoint
from benchhydra.sweep.group.group_run import JOURNALS
from benchhydra.sweep.outcomes import Outcome, counted_starts, summarize_repeats, write_json
from benchhydra.sweep.plan.resume import read_json


@dataclass(kw_only=True)
class SweepFile:
    """A sweep's own file, written when the sweep begins, whenever a group ends, and at its end.

    ``earlier_starts``: of servers, before the sweep was resumed.
    """

    directory: Path
    sweep_id: str
    command: str
    points: Sequence[PlannedPoint]
    swept: tuple[str, ...] = ()
    outcomes: dict[Identity, Outcome] = field(default_factory=dict)
    earlier_starts: int = 0
    server_starts: int = 0
    wall_s: float = 0.0
    stopped: str | None = None
    started: float = field(default_factory=time.time)

    def add(self, outcomes: Iterable[Outcome], server_starts: int) -> None:
        """Take in what came of a group, and write."""
        self.outcomes |= {outcome.identity: outcome for outcome in outcomes}
        self.server_starts += server_starts
        self.write()

    def write(self, *, finished: bool = False) -> Path:
        """Write the file as things stand. Raises ResultError."""
        path = self.directory / SWEEP_FILE
        write_json(path, self._json(finished))
        return path

    def ordered(self) -> list[Outcome]:
        """All outcomes: of planned points in their order, then of added repeats."""
        planned = [point.identity for point in self.points]
        known = [self.outcomes[identity] for identity in planned if identity in self.outcomes]
        return known + [outcome for identity, outcome in self.outcomes.items() if identity not in set(planned)]

    def _json(self, finished: bool) -> dict[str, Any]:
        planned = {point.identity: point for point in self.points}
        points = [self._point(point, self.outcomes.get(identity)) for identity, point in planned.items()]
        extra = [o for identity, o in self.outcomes.items() if identity not in planned]
        points += [_with_outcome(_outcome_point(outcome), outcome) | {"extra": True} for outcome in extra]
        versions = sorted({o.engine_version for o in self.outcomes.values() if o.engine_version})
        data = {
            "sweep_id": self.sweep_id,
            "command": self.command,
            "finished": finished,
            "stopped": self.stopped,
            "epoch_time": self.started,
            "wall_s": self.wall_s + time.time() - self.started,
            "server_starts": self.earlier_starts + self.server_starts,
            "earlier_starts": self.earlier_starts,
            "versions": {"benchhydra": __version__, "engine": versions},
            "points": points,
            "repeats": summarize_repeats(self.ordered()),
        }
        return {key: value for key, value in data.items() if value is not None}

    def _point(self, point: PlannedPoint, outcome: Outcome | None) -> dict[str, Any]:
        entry = _entry(point.overrides, point.directory, point.identity)
        return entry | {"status": "planned"} if outcome is None else _with_outcome(entry, outcome)


def _entry(overrides: Sequence[str], directory: str, identity: Identity) -> dict[str, Any]:
    entry = {"overrides": list(overrides), "directory": directory, **identity._asdict()}
    return {key: value for key, value in entry.items() if value is not None}


def _outcome_point(outcome: Outcome) -> dict[str, Any]:
    return _entry(outcome.overrides, outcome.directory, outcome.identity)


def _with_outcome(entry: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    more = {
        "status": outcome.status,
        "verdict": outcome.verdict,
        "error": outcome.error,
        "wall_s": outcome.wall_s,
        "server_starts": outcome.server_starts,
    }
    return entry | {key: value for key, value in more.items() if value is not None}


def earlier_sweep(directory: Path) -> tuple[str, int, float] | None:
    """(sweep_id, server starts, wall time) of the sweep in a directory; None where there is none.

    The starts of its last run are counted from the groups' journals: a sweep that was killed has not added them up.
    """
    data = read_json(directory / SWEEP_FILE)
    if data is None or "sweep_id" not in data:
        return None
    last = sum(counted_starts(journal) for journal in (directory / JOURNALS).glob("*.json"))
    return data["sweep_id"], int(data.get("earlier_starts", 0)) + last, float(data.get("wall_s", 0.0))
