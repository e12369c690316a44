"""Running groups on each kind of launcher, so that one group's end, however violent, does not touch another group.

basic: one after another. joblib: all at once; when a worker is killed joblib gives up on the whole batch, so groups
that have not finished are launched once more, each alone (they keep the points that they have measured), and one that
dies again fails. Others (submitit, ray): every group is a launch of its own, side by side, with its own resources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue
from threading import Thread
from typing import Any

from benchhydra.interruption import reraising_interrupts
from benchhydra.sweep.group.job import GroupJob
from benchhydra.sweep.group.journal import read_journal
from benchhydra.sweep.launch.group_end import GroupEnd, group_end
from benchhydra.sweep.launch.ray import RayThreads, ResourceRequest, connected

#: Launches jobs, given by their overrides and the number of the first, and returns what they returned. May raise
#: whatever a launcher raises.
Launch = Callable[[Sequence[Sequence[str]], int], Sequence[Any]]


@dataclass(frozen=True)
class LaunchBatch:
    """Jobs of equal resources, and how they are launched; ``kind`` is the class name of the launcher."""

    kind: str
    launch: Launch
    jobs: tuple[GroupJob, ...]
    ray_request: ResourceRequest | None = None


def launch_batches(batches: Sequence[LaunchBatch]) -> Iterator[GroupEnd]:
    """Run all jobs, and yield the end of each when it has ended."""
    for batch in batches:
        if batch.kind == "BasicLauncher":
            yield from (_launch_alone(batch.launch, job) for job in batch.jobs)
        elif batch.kind == "JoblibLauncher":
            yield from _launch_together(batch.launch, batch.jobs)
    rest = [batch for batch in batches if batch.kind not in ("BasicLauncher", "JoblibLauncher")]
    with connected([batch.ray_request for batch in rest if batch.ray_request is not None]) as threads:
        yield from _launch_side_by_side([_counted(threads, batch) for batch in rest])


def _counted(threads: RayThreads, batch: LaunchBatch) -> LaunchBatch:
    """A batch whose threads are counted while they use Ray, so that it is not shut down before they are done."""
    if batch.ray_request is None:
        return batch
    return replace(batch, launch=lambda jobs, first: threads.run(lambda: batch.launch(jobs, first)))


def _launch_together(launch: Launch, jobs: Sequence[GroupJob]) -> Iterator[GroupEnd]:
    with suppress(Exception), reraising_interrupts():  # a launcher raises anything; the journals say what is missing
        launch([job_overrides(job) for job in jobs], jobs[0].number)
    for job in jobs:
        yield group_end(job, None) if read_journal(job.journal).finished else _launch_alone(launch, job)


def _launch_side_by_side(batches: Sequence[LaunchBatch]) -> Iterator[GroupEnd]:
    """A thread for each job. They are daemons: an interruption must not wait for a cluster's queue."""
    ends: SimpleQueue[GroupEnd] = SimpleQueue()
    threads = [
        Thread(target=lambda launch, job: ends.put(_launch_alone(launch, job)), args=(batch.launch, job), daemon=True)
        for batch in batches
        for job in batch.jobs
    ]
    for thread in threads:
        thread.start()
    yield from (ends.get() for _ in threads)


def _launch_alone(launch: Launch, job: GroupJob) -> GroupEnd:
    try:
        with reraising_interrupts():
            launch([job_overrides(job)], job.number)
    except Exception as error:  # noqa: BLE001 - a launcher raises anything, and the other groups go on
        return group_end(job, error)
    return group_end(job, None)


def job_overrides(job: GroupJob) -> list[str]:
    """The overrides of a job: those of its first point, so that its launcher's resources are right, and its text."""
    return [*job.points[0].overrides, f"sweep.job='{job.encode()}'"]
