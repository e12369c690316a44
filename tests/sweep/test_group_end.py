"""How a group ended, as its journal tells: a killed process leaves no point and no search without a word."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchhydra.config import Sweep
from benchhydra.points import Identity, Outcome, PlannedPoint
from benchhydra.search import Answer
from benchhydra.sweep.group.job import GroupJob
from benchhydra.sweep.group.journal import Journal, read_journal
from benchhydra.sweep.group.limits import FailureCount, StopLimits, stop_limits
from benchhydra.sweep.launch.group_end import group_end, interrupted_group_end
from benchhydra.sweep.study_result import StudyResult


@pytest.fixture
def job(tmp_path: Path) -> GroupJob:
    """Two points and a search."""
    points = tuple(
        PlannedPoint(overrides=(f"qps={n}",), directory=str(tmp_path / f"{n}"), identity=Identity(f"{n}", "", 0))
        for n in range(2)
    )
    return GroupJob(sweep_id="s", sweep_dir=str(tmp_path), number=0, points=points, search="halving")


def ok(job: GroupJob, count: int) -> tuple[Outcome, ...]:
    return tuple(Outcome.of_point(point, status="ok") for point in job.points[:count])


def test_a_finished_group_is_what_its_journal_says(job: GroupJob) -> None:
    study = StudyResult(search="halving", overrides=(), answer=Answer(value=5.0, unit="requests/s"))
    journal = Journal(outcomes=ok(job, 2), studies=(study,), server_starts=3, finished=True)
    journal.write(job.journal)
    assert read_journal(job.journal) == journal
    end = group_end(job, None)
    assert (end.outcomes, end.studies, end.server_starts) == (ok(job, 2), (study,), 3)


def test_a_point_that_a_killed_group_did_not_reach_has_failed(job: GroupJob) -> None:
    Journal(outcomes=ok(job, 1), server_starts=1).write(job.journal)
    end = group_end(job, RuntimeError("a worker was\nkilled"))
    assert [outcome.status for outcome in end.outcomes] == ["ok", "failed"]
    assert end.outcomes[1].error == "the group's process ended early: RuntimeError: a worker was killed"
    assert end.studies == ()


def test_a_search_that_a_killed_group_did_not_end_has_failed(job: GroupJob) -> None:
    Journal(outcomes=ok(job, 2), server_starts=1).write(job.journal)
    (study,) = group_end(job, None).studies
    assert (study.search, study.answer, study.error) == ("halving", None, "the group's process ended early")


def test_points_of_an_interrupted_group_are_skipped_or_as_they_were(job: GroupJob) -> None:
    assert [o.status for o in interrupted_group_end(job).outcomes] == ["skipped", "skipped"]
    Journal(outcomes=ok(job, 1)).write(job.journal)
    end = interrupted_group_end(job)
    assert [outcome.status for outcome in end.outcomes] == ["ok", "skipped"]
    assert end.studies == ()


def test_limits_stop_a_sweep(tmp_path: Path) -> None:
    failures = FailureCount(tmp_path / "groups" / "failures")
    assert failures.read() == 0
    failures.add()
    failures.add()
    assert failures.read() == 2
    assert StopLimits().stop_reason(failures.read(), 1e12) is None
    assert StopLimits(fail_fast=True).stop_reason(0, 0.0) is None
    assert StopLimits(fail_fast=True).stop_reason(1, 0.0) == "sweep.fail_fast=true and a point failed"
    assert StopLimits(max_failures=3).stop_reason(2, 0.0) is None
    assert StopLimits(max_failures=2).stop_reason(2, 0.0) == "sweep.max_failures=2 was reached"
    timed = StopLimits(max_time_s=60.0, deadline_s=1000.0)
    assert timed.stop_reason(0, 999.9) is None
    assert timed.stop_reason(0, 1000.0) == "sweep.max_time_s=60 has passed"


def test_a_jump_of_the_system_clock_does_not_stop_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = stop_limits(Sweep(max_time_s=60.0), time.time())
    for hours in (-24, 24):
        jumped_s = time.time() + hours * 3600
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda now_s=jumped_s: now_s)
            assert limits.stop_reason(0, limits.now_s()) is None
            assert replace(limits, deadline_s=limits.began_s).stop_reason(0, limits.now_s()) is not None
            elsewhere = replace(limits, boot_id="another machine")
            assert elsewhere.now_s() == jumped_s
