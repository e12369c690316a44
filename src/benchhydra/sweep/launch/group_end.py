"""How a group ended, from its journal and the results of its points: it may have been killed at any moment."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchhydra.escaping import printable
from benchhydra.points import Outcome, read_outcome
from benchhydra.redaction import excerpt
from benchhydra.sweep.group.job import GroupJob
from benchhydra.sweep.group.journal import read_journal
from benchhydra.sweep.study_result import StudyResult


@dataclass(frozen=True, kw_only=True)
class GroupEnd:
    """A group that has ended: an outcome for each of its points, its search's answers, and its server starts."""

    job: GroupJob
    outcomes: tuple[Outcome, ...]
    studies: tuple[StudyResult, ...]
    server_starts: int


def group_end(job: GroupJob, error: Exception | None) -> GroupEnd:
    """The end of a group whose job is over; ``error`` is what its launcher raised."""
    if read_journal(job.journal).finished:
        return _group_end(job, status="failed", reason="the group ended without this point")
    reason = "the group's process ended early"
    if error is not None:
        reason += f": {type(error).__name__}: {excerpt(printable(str(error)), 200)}"
    end = _group_end(job, status="failed", reason=reason)
    if job.search is None or len(end.outcomes) > len(read_journal(job.journal).outcomes):
        return end  # a point has the reason as its error
    study = StudyResult(search=job.search, overrides=job.points[0].overrides, error=reason)
    return replace(end, studies=(*end.studies, study))


def interrupted_group_end(job: GroupJob) -> GroupEnd:
    """The end of a group whose sweep was interrupted: points that are not finished are skipped."""
    return _group_end(job, status="skipped", reason="the sweep was interrupted")


def _group_end(job: GroupJob, *, status: str, reason: str) -> GroupEnd:
    """The end of a group; a point without an outcome in the journal or a result gets this status and reason."""
    journal = read_journal(job.journal)
    journaled = {outcome.identity for outcome in journal.outcomes}
    unjournaled = [
        read_outcome(point) or Outcome.of_point(point, status=status, error=reason)
        for point in job.points
        if point.identity not in journaled
    ]
    return GroupEnd(
        job=job,
        outcomes=(*journal.outcomes, *unjournaled),
        studies=journal.studies,
        server_starts=journal.server_starts,
    )
