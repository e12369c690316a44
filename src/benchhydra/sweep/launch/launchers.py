"""Running groups on each kind of launcher, so that a group that is killed does not affect the other groups.

basic: one group after another. joblib: all groups in one launch; if a worker is killed, joblib aborts the whole batch,
so each unfinished group is launched once more by itself (its finished points are reused), and fails if it is killed
again. Others (submitit, ray): one launch a group, all at the same time, each with its own resources.
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
from benchhydra.sweep.launch.joblib_workers import end_workers_with_this_process
from benchhydra.sweep.launch.ray import RayThreads, ResourceRequest, connected

#: Launches jobs, given by the overrides of each and the number of the first, and returns their return values. May
#: raise whatever a launcher raises.
Launch = Callable[[Sequence[Sequence[str]], int], Sequence[Any]]


@dataclass(frozen=True)
class LaunchBatch:
    """Jobs of equal resources, and the function that launches them; ``kind`` is the class name of the launcher."""

    kind: str
    launch: Launch
    jobs: tuple[GroupJob, ...]
    ray_request: ResourceRequest | None = None


def launch_batches(batches: Sequence[LaunchBatch]) -> Iterator[GroupEnd]:
    """Run all jobs, and yield the end of each when it has ended."""
    for batch in batches:
        if batch.kind == "BasicLauncher":
            yield from (_launch_one(batch.launch, job) for job in batch.jobs)
        elif batch.kind == "JoblibLauncher":
            end_workers_with_this_process()
            yield from _launch_together(batch.launch, batch.jobs)
    cluster_batches = [batch for batch in batches if batch.kind not in ("BasicLauncher", "JoblibLauncher")]
    with connected([batch.ray_request for batch in cluster_batches if batch.ray_request is not None]) as threads:
        yield from _launch_in_parallel([_with_counted_threads(threads, batch) for batch in cluster_batches])


def _with_counted_threads(threads: RayThreads, batch: LaunchBatch) -> LaunchBatch:
    """The batch with its threads counted while they use Ray, so that Ray is not shut down before they are done."""
    if batch.ray_request is None:
        return batch
    return replace(batch, launch=lambda jobs, first: threads.run(lambda: batch.launch(jobs, first)))


def _launch_together(launch: Launch, jobs: Sequence[GroupJob]) -> Iterator[GroupEnd]:
    with suppress(Exception), reraising_interrupts():  # any exception; the journals tell which groups are unfinished
        launch([job_overrides(job) for job in jobs], jobs[0].number)
    for job in jobs:
        yield group_end(job, None) if read_journal(job.journal).finished else _launch_one(launch, job)


def _launch_in_parallel(batches: Sequence[LaunchBatch]) -> Iterator[GroupEnd]:
    """Launch each job in a thread of its own. A daemon thread: an interrupt must not wait for a cluster's queue."""
    ends: SimpleQueue[GroupEnd] = SimpleQueue()
    threads = [
        Thread(target=lambda launch, job: ends.put(_launch_one(launch, job)), args=(batch.launch, job), daemon=True)
        for batch in batches
        for job in batch.jobs
    ]
    for thread in threads:
        thread.start()
    yield from (ends.get() for _ in threads)


def _launch_one(launch: Launch, job: GroupJob) -> GroupEnd:
    try:
        with reraising_interrupts():
            launch([job_overrides(job)], job.number)
    except Exception as error:  # noqa: BLE001 - a launcher raises anything, and must not end the other groups
        return group_end(job, error)
    return group_end(job, None)


def job_overrides(job: GroupJob) -> list[str]:
    """The overrides of a job: those of its first point, which set its launcher's resources, and the encoded job."""
    return [*job.points[0].overrides, f"sweep.job='{job.encode()}'"]
