"""``trials.json``: the trials of a sweep that have ended. A resumed sweep takes them from here, infeasible ones too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchhydra.artifacts import TRIALS_FILE, read_json_or_none, write_json
from benchhydra.points import Outcome
from benchhydra.search.trials import Trial


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A trial that has ended, with the outcomes of its points. wall_s: from its launch to its end."""

    study: int
    trial: Trial
    outcomes: tuple[Outcome, ...] = ()
    wall_s: float = 0.0


@dataclass(kw_only=True)
class TrialFile:
    """The file in a sweep's directory. records: of this run and of earlier ones, by study and number of the trial."""

    directory: Path
    records: dict[tuple[int, int], TrialRecord] = field(init=False)

    def __post_init__(self) -> None:
        self.records = {(record.study, record.trial.number): record for record in self._read()}

    def earlier_record(self, study: int, number: int, settings: Mapping[str, Any]) -> TrialRecord | None:
        """The record of the same trial of an earlier run; None if it has to be run."""
        record = self.records.get((study, number))
        return record if record is not None and dict(record.trial.settings) == dict(settings) else None

    def add(self, record: TrialRecord) -> None:
        """Add a record, and write the file, with the records of earlier runs too. Raises ResultError."""
        self.records[record.study, record.trial.number] = record
        write_json(self.directory / TRIALS_FILE, {"trials": [_to_json(each) for each in self.records.values()]})

    def _read(self) -> list[TrialRecord]:
        """The records of earlier runs; none if the file is missing or damaged: the trials are run again then."""
        data = read_json_or_none(self.directory / TRIALS_FILE) or {}
        try:
            return [_from_json(record) for record in data.get("trials", ())]
        except (AttributeError, KeyError, TypeError, ValueError):  # a file that this program has not written
            return []


def _to_json(record: TrialRecord) -> dict[str, Any]:
    return {
        "study": record.study,
        "trial": record.trial.to_json(),
        "outcomes": [outcome.to_json() for outcome in record.outcomes],
        "wall_s": record.wall_s,
    }


def _from_json(data: Mapping[str, Any]) -> TrialRecord:
    return TrialRecord(
        study=data["study"],
        trial=Trial.from_json(data["trial"]),
        outcomes=tuple(Outcome.from_json(outcome) for outcome in data["outcomes"]),
        wall_s=data["wall_s"],
    )
