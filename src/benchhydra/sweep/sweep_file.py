"""``sweep.json``: a sweep's command, its points and their outcomes, its search's answers, server starts, times."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchhydra import __version__
from benchhydra.artifacts import JOURNALS_DIR, SWEEP_FILE, read_json, write_json
from benchhydra.errors import ResultError
from benchhydra.points import Identity, Outcome, PlannedPoint
from benchhydra.sweep.group.journal import read_journal
from benchhydra.sweep.repeats import summarize_repeats
from benchhydra.sweep.study_result import StudyResult


class EarlierSweep(NamedTuple):
    """The id of a sweep that is resumed, and the server starts and wall time of its earlier runs."""

    sweep_id: str
    server_starts: int
    wall_s: float


class _Counts(msgspec.Struct):
    """The fields of a ``sweep.json`` that go on counting when the sweep is resumed."""

    sweep_id: str
    earlier_starts: int = 0
    wall_s: float = 0.0


def read_earlier_sweep(directory: Path) -> EarlierSweep | None:
    """The sweep in a directory; None if it holds none, or only a damaged ``sweep.json``.

    The server starts of its last run come from the groups' journals: a killed sweep has not written them to its file.
    """
    try:
        counts = msgspec.convert(read_json(directory / SWEEP_FILE), _Counts)
    except (ResultError, msgspec.ValidationError):
        return None
    last_starts = sum(read_journal(path).server_starts for path in (directory / JOURNALS_DIR).glob("*.json"))
    return EarlierSweep(counts.sweep_id, counts.earlier_starts + last_starts, counts.wall_s)


@dataclass(kw_only=True)
class SweepFile:
    """The file of a sweep, written when the sweep begins, whenever a group ends, and at its end.

    earlier: the runs that this one resumes. server_starts: those of this run. stopped: why the sweep ended early.
    started: seconds since the epoch.
    """

    directory: Path
    sweep_id: str
    command: str
    points: Sequence[PlannedPoint]
    earlier: EarlierSweep | None = None
    outcomes: dict[Identity, Outcome] = field(default_factory=dict)
    studies: list[StudyResult] = field(default_factory=list)
    server_starts: int = 0
    stopped: str | None = None
    started: float = field(default_factory=time.time)
    started_monotonic_s: float = field(default_factory=time.monotonic)

    def add(self, outcomes: Iterable[Outcome], studies: Iterable[StudyResult] = (), server_starts: int = 0) -> None:
        """Add the outcomes, answers and server starts of a group, and write the file. Raises ResultError."""
        self.outcomes |= {outcome.identity: outcome for outcome in outcomes}
        self.studies += studies
        self.server_starts += server_starts
        self.write()

    def write(self, *, finished: bool = False) -> None:
        """Write the file with the outcomes so far. Raises ResultError."""
        write_json(self.directory / SWEEP_FILE, self._json(finished), durable=True)

    def ordered_outcomes(self) -> list[Outcome]:
        """All outcomes: those of planned points in their order, then those of points that a search added."""
        planned = [self.outcomes[point.identity] for point in self.points if point.identity in self.outcomes]
        return planned + self._added_outcomes()

    def _added_outcomes(self) -> list[Outcome]:
        planned = {point.identity for point in self.points}
        return [outcome for identity, outcome in self.outcomes.items() if identity not in planned]

    def _json(self, finished: bool) -> dict[str, Any]:
        points = [_entry(point, self.outcomes.get(point.identity)) for point in self.points]
        points += [_entry(outcome, outcome) | {"extra": True} for outcome in self._added_outcomes()]
        versions = sorted({o.engine_version for o in self.outcomes.values() if o.engine_version})
        earlier_starts, earlier_wall_s = (self.earlier.server_starts, self.earlier.wall_s) if self.earlier else (0, 0.0)
        data = {
            "sweep_id": self.sweep_id,
            "command": self.command,
            "finished": finished,
            "stopped": self.stopped,
            "epoch_time": self.started,
            "wall_s": earlier_wall_s + time.monotonic() - self.started_monotonic_s,
            "server_starts": earlier_starts + self.server_starts,
            "earlier_starts": earlier_starts,
            "versions": {"benchhydra": __version__, "engine": versions},
            "points": points,
            "repeats": summarize_repeats(self.ordered_outcomes()),
            "answers": [study.to_json() for study in self.studies if study.answer or study.error],
        }
        return {key: value for key, value in data.items() if value is not None}


def _entry(point: PlannedPoint | Outcome, outcome: Outcome | None) -> dict[str, Any]:
    """A point's entry in ``points``; its status is "planned" if it has no outcome yet."""
    entry = {"overrides": list(point.overrides), "directory": point.directory, **point.identity._asdict()}
    if outcome is None:
        return entry | {"status": "planned"}
    entry |= {
        "status": outcome.status,
        "verdict": outcome.verdict,
        "error": outcome.error,
        "wall_s": outcome.wall_s,
        "server_starts": outcome.server_starts,
    }
    return {key: value for key, value in entry.items() if value is not None}
