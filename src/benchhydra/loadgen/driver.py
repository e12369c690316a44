"""``drive``: a plan in, rows out. Decides how many processes send it, and puts their rows together."""

from __future__ import annotations

import math
import os
import sys
from array import array
from collections.abc import Sequence
from time import monotonic_ns

from benchhydra.errors import ConfigError
from benchhydra.loadgen import LoadPlan, LoadResult
from benchhydra.loadgen.local import send_here
from benchhydra.loadgen.loop.loop_lag import p99_ms
from benchhydra.loadgen.ray.clock_sync import NodeClock
from benchhydra.loadgen.shards import Shard, ShardProgress, ShardResult
from benchhydra.progress import Progress
from benchhydra.records import Records

#: Chunks a second that one process takes without being late: less than half of what it can take when it may be late.
CHUNKS_PER_PROCESS = 60_000
#: A chunk a stream in this time is assumed where the schedule says nothing about the rate.
_ASSUMED_CHUNKS_PER_STREAM = 100


def drive(plan: LoadPlan, progress: Progress) -> LoadResult:
    """Send a plan and wait for all answers. See ``benchhydra.loadgen.run_load``."""
    if plan.executor == "ray":
        return _drive_on_ray(plan, progress)
    parts = min(processes_for(plan), max(1, len(plan.requests)))
    report = ProgressReporter(plan, progress, parts)
    dealt = split_into_shards(plan, parts)
    if len(dealt) == 1:
        return merge_results(plan, {0: send_here(dealt[0], lambda count: report(0, count))}, 1)
    from benchhydra.loadgen.processes.parent import send_in_processes

    sent, lost = send_in_processes(dealt, report)
    return merge_results(plan, sent, len(dealt), lost)


def _drive_on_ray(plan: LoadPlan, progress: Progress) -> LoadResult:
    from benchhydra.loadgen.ray import cluster
    from benchhydra.loadgen.ray.senders import send_on_ray

    cluster.require_ray("load.executor=ray")
    wanted = min(processes_for(plan, sys.maxsize), max(1, len(plan.requests)))
    progress.status("connecting to Ray")
    cluster.connect(max(wanted, len(os.sched_getaffinity(0))))
    most = cluster.free_cpus(wanted)
    if most < (1 if plan.processes == "auto" else wanted):
        raise ConfigError(
            f"the Ray cluster has {most} free CPUs for {wanted} client processes", hint="load.processes=1"
        )
    dealt = split_into_shards(plan, min(wanted, most))
    came = send_on_ray(dealt, ProgressReporter(plan, progress, len(dealt)))
    return merge_results(plan, came.sent, len(dealt), came.lost, came.clocks)


def processes_for(plan: LoadPlan, most: int | None = None) -> int:
    """How many client processes; where the rate decides, at most ``most``, by default all cores but one.

    Raises ConfigError where ``processes`` says nothing of sense.
    """
    if plan.processes != "auto":
        if not plan.processes.isdigit() or int(plan.processes) < 1:
            raise ConfigError(f"load.processes={plan.processes} is not a number", hint="load.processes=auto, or 2")
        return int(plan.processes)
    if most is None:
        most = len(os.sched_getaffinity(0)) - 1
    return max(1, min(math.ceil(_expected_chunks_per_s(plan) / CHUNKS_PER_PROCESS), most))


def _expected_chunks_per_s(plan: LoadPlan) -> float:
    count = len(plan.requests)
    span_s = float(plan.offsets_s[-1] - plan.offsets_s[0]) if count else 0.0
    if span_s > 0 and plan.endpoint.stream:
        return sum(plan.requests.output_tokens) / span_s
    return (plan.max_in_flight or count) * _ASSUMED_CHUNKS_PER_STREAM if plan.endpoint.stream else 0.0


def split_into_shards(plan: LoadPlan, parts: int) -> list[Shard]:
    """The plan dealt out: every parts-th request to each, and as even a part of max_in_flight as there is."""
    limits: Sequence[int | None] = [None] * parts
    if plan.max_in_flight is not None:
        parts = min(parts, plan.max_in_flight)
        limits = [plan.max_in_flight // parts + (part < plan.max_in_flight % parts) for part in range(parts)]
    return [
        Shard(
            endpoint=plan.endpoint,
            requests=plan.requests if parts == 1 else plan.requests.deal(part, parts),
            offsets_s=plan.offsets_s[part::parts],
            max_in_flight=limits[part],
            closed_loop=plan.closed_loop if len(plan.offsets_s) else False,
            timeout_s=plan.timeout_s,
            ignore_eos=plan.ignore_eos,
            keep_text=plan.keep_text,
        )
        for part in range(parts)
    ]


def merge_results(
    plan: LoadPlan,
    sent: dict[int, ShardResult],
    parts: int,
    lost_processes: tuple[str, ...] = (),
    clocks: tuple[NodeClock, ...] = (),
) -> LoadResult:
    """One account of what all processes did: ``sent`` by the number of the share, of ``parts``."""
    stalls, lags = array("f"), array("f")
    for part in sent.values():
        stalls += part.stalls_ns
        lags += part.lags_ns
    busy = [part.cpu_share for part in sent.values() if part.cpu_share is not None]
    records = [part.records for part in sent.values()]
    return LoadResult(
        records=records[0] if len(records) == 1 else Records.concat(records),
        interrupted=any(part.interrupted for part in sent.values()),
        client_cpu_share=max(busy, default=None),
        client_awake_s=max((part.awake_s for part in sent.values()), default=0.0),
        loop_stall_p99_ms=p99_ms(stalls),
        loop_stall_max_ms=max(stalls) / 1e6 if stalls else None,
        client_lag_p99_ms=p99_ms(lags),
        processes=parts,
        texts=_texts(plan, sent, parts) if plan.keep_text else None,
        lost_processes=lost_processes,
        clocks=clocks,
    )


def _texts(plan: LoadPlan, sent: dict[int, ShardResult], parts: int) -> tuple[str, ...]:
    """In the order of the requests: part p sent every parts-th one from p on."""
    texts = [""] * len(plan.requests)
    for part, one in sent.items():
        texts[part::parts] = one.texts
    return tuple(texts)


class ProgressReporter:
    """Adds up what the processes say, and tells the progress a few times a second."""

    def __init__(self, plan: LoadPlan, progress: Progress, parts: int) -> None:
        self._progress = progress
        self._total = len(plan.requests)
        self._last_s = float(plan.offsets_s[-1]) if self._total and not plan.closed_loop else None
        self._counts = [ShardProgress() for _ in range(parts)]
        self._started_ns = self._told_ns = monotonic_ns()

    def __call__(self, part: int, count: ShardProgress) -> None:
        self._counts[part] = count
        now_ns = monotonic_ns()
        if part == 0 and now_ns - self._told_ns > 200_000_000:
            self._told_ns = now_ns
            self._tell((now_ns - self._started_ns) / 1e9)

    def _tell(self, elapsed_s: float) -> None:
        done = sum(count.done for count in self._counts)
        seen = sum(count.ttft_count for count in self._counts)
        ttft_ms = sum(count.ttft_sum_ns for count in self._counts) / seen / 1e6 if seen else None
        rate = done / elapsed_s if elapsed_s > 0 else None
        left_s = (self._total - done) / rate if rate else None
        if self._last_s is not None:
            left_s = max(0.0, self._last_s - elapsed_s)
        failed = sum(count.failed for count in self._counts)
        self._progress.requests(done, self._total, failed, rate, ttft_ms, left_s)
