"""A group's journal: its outcomes so far, written after every point, so that a killed group loses no finished point."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchhydra.artifacts import read_json_or_none, write_json
from benchhydra.points import Outcome
from benchhydra.sweep.study_result import StudyResult


@dataclass(frozen=True, kw_only=True)
class Journal:
    """The outcomes, answers and server starts of a group, including the server starts of its earlier attempts."""

    outcomes: tuple[Outcome, ...] = ()
    studies: tuple[StudyResult, ...] = ()
    server_starts: int = 0
    finished: bool = False

    def write(self, path: Path) -> None:
        """Write the journal. Raises ResultError."""
        write_json(
            path,
            {
                "finished": self.finished,
                "server_starts": self.server_starts,
                "outcomes": [outcome.to_json() for outcome in self.outcomes],
                "studies": [study.to_json() for study in self.studies],
            },
        )


def read_journal(path: Path) -> Journal:
    """Read a group's journal; an empty one if the file does not exist or is damaged: results hold the outcomes too."""
    data = read_json_or_none(path) or {}
    try:
        return Journal(
            outcomes=tuple(Outcome.from_json(outcome) for outcome in data.get("outcomes", ())),
            studies=tuple(StudyResult.from_json(study) for study in data.get("studies", ())),
            server_starts=int(data.get("server_starts", 0)),
            finished=bool(data.get("finished")),
        )
    except (AttributeError, KeyError, TypeError, ValueError):  # a file that this program has not written
        return Journal()
