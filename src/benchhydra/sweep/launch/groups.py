"""Handing groups to Hydra's launchers so that one group's end, however violent, is no other group's.

basic: one after another. joblib: all at once; where a worker is killed joblib gives up on the whole batch, so groups
that had not finished are launched again, each alone (they keep the points they had measured), and one that dies then,
fails. Others (submitit, ray): a launch of its own for every group, side by side, whatever resources each asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue
from threading import Thread
from typing import Any

from benchhydra.interruption import reraising_interrupts
from benchhydra.sweep import PlannedPoint
from benchhydra.sweep.group.group_run import GroupJob
from benchhydra.sweep.launch import ray_launcher
from benchhydra.sweep.outcomes import Outcome, blank_outcome, counted_starts, outcome_from_disk, read_journal

#: Starts jobs given by their overrides, and returns what they returned. May raise whatever a launcher raises.
Launch = Callable[[Sequence[Sequence[str]], int], Sequence[Any]]


@dataclass(frozen=True)
class GroupEnd:
    """A group that has ended, and how its points did."""

    job: GroupJob
    outcomes: tuple[Outcome, ...]
    server_starts: int


@dataclass(frozen=True)
class LaunchBatch:
    """Jobs of equal resources, and how they are launched; ``kind`` is the class name of the launcher."""

    kind: str
    launch: Launch
    jobs: tuple[GroupJob, ...]
    ray: ray_launcher.ResourceRequest | None = None


def launch_all(batches: Sequence[LaunchBatch]) -> Iterator[GroupEnd]:
    """Run all jobs, and yield each as it ends."""
    for batch in batches:
        if batch.kind == "BasicLauncher":
            yield from (_alone(batch.launch, job) for job in batch.jobs)
        elif batch.kind == "JoblibLauncher":
            yield from _batch(batch.launch, batch.jobs)
    rest = [batch for batch in batches if batch.kind not in ("BasicLauncher", "JoblibLauncher")]
    with ray_launcher.connected([batch.ray for batch in rest if batch.ray is not None]) as threads:
        yield from _side_by_side([_among(threads, batch) if batch.ray is not None else batch for batch in rest])


def _among(threads: ray_launcher.RayThreads, batch: LaunchBatch) -> LaunchBatch:
    """A batch whose threads Ray is not left without."""
    return replace(batch, launch=lambda jobs, first: threads.run(lambda: batch.launch(jobs, first)))


def _batch(launch: Launch, jobs: Sequence[GroupJob]) -> Iterator[GroupEnd]:
    with (
        suppress(Exception),
        reraising_interrupts(),
    ):  # a launcher raises anything; what is to be done, the groups' files say
        launch([job_overrides(job) for job in jobs], jobs[0].number)
    for job in jobs:
        _, finished = read_journal(job.journal)
        yield group_end(job, None) if finished else _alone(launch, job)


def _side_by_side(batches: Sequence[LaunchBatch]) -> Iterator[GroupEnd]:
    """A thread a job. They are daemons: an interruption must not wait for what a cluster's queue takes."""
    done: SimpleQueue[GroupEnd] = SimpleQueue()
    threads = [
        Thread(target=lambda launch, job: done.put(_alone(launch, job)), args=(batch.launch, job), daemon=True)
        for batch in batches
        for job in batch.jobs
    ]
    for thread in threads:
        thread.start()
    yield from (done.get() for _ in threads)


def _alone(launch: Launch, job: GroupJob) -> GroupEnd:
    try:
        with reraising_interrupts():
            launch([job_overrides(job)], job.number)
    except Exception as error:  # noqa: BLE001 - see _batch
        return group_end(job, error)
    return group_end(job, None)


def job_overrides(job: GroupJob) -> list[str]:
    """A job's own overrides: those of its first point, so that whatever that needs is there, and the job's text."""
    return [*job.points[0].overrides, f"sweep.job='{job.encode()}'"]


def group_end(job: GroupJob, error: Exception | None) -> GroupEnd:
    """How a group ended, from its journal, and for points that are not in it from their own files."""
    known, finished = read_journal(job.journal)
    seen = {outcome.identity for outcome in known}
    if finished:
        reason = "the group ended without this point"
    else:
        reason = "the group's process ended early"
        if error is not None:
            reason += f": {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    missing = [_unfinished(point, reason) for point in job.points if point.identity not in seen]
    return GroupEnd(job, (*known, *missing), counted_starts(job.journal))


def interrupted_groups(jobs: Iterable[GroupJob]) -> Iterator[GroupEnd]:
    """The groups of a sweep that was interrupted: what their journals and points tell."""
    for job in jobs:
        known, _ = read_journal(job.journal)
        seen = {outcome.identity for outcome in known}
        rest = [
            outcome_from_disk(p, blank_outcome(p, status="skipped", error="the sweep was interrupted"))
            for p in job.points
        ]
        yield GroupEnd(job, (*known, *(o for o in rest if o.identity not in seen)), counted_starts(job.journal))


def _unfinished(point: PlannedPoint, reason: str) -> Outcome:
    return outcome_from_disk(point, blank_outcome(point, status="failed", error=reason))
