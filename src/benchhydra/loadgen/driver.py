"""Runs a load plan: decides how many processes send it and where, and merges their results."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence

from benchhydra.errors import ConfigError
from benchhydra.loadgen.client_facts import loop_lag_series, merge_facts
from benchhydra.loadgen.client_limits import most_connections
from benchhydra.loadgen.local import send_here
from benchhydra.loadgen.plan import LoadPlan, LoadResult
from benchhydra.loadgen.processes.parent import send_in_processes
from benchhydra.loadgen.progress_reporter import ProgressReporter
from benchhydra.loadgen.ray import cluster
from benchhydra.loadgen.ray.clock_sync import NodeClock
from benchhydra.loadgen.ray.senders import send_on_ray
from benchhydra.loadgen.shards import ShardResult, split_into_shards
from benchhydra.progress import Progress
from benchhydra.records import Records

#: Chunks per second that one process reads without delay; its maximum throughput is over twice that.
CHUNKS_PER_PROCESS = 60_000
#: Assumed chunks per second of each stream if the schedule has no rate.
_ASSUMED_CHUNKS_PER_STREAM = 100


def run_load(plan: LoadPlan, progress: Progress) -> LoadResult:
    """Send a plan and wait for all answers. See ``benchhydra.loadgen.run_load``."""
    if plan.executor == "ray":
        return _run_on_ray(plan, progress)
    shards = split_into_shards(plan, min(processes_for(plan), max(1, len(plan.requests))))
    report = _reporter(plan, progress, len(shards))
    if len(shards) == 1:
        return merge_results(plan, {0: send_here(shards[0], lambda count: report(0, count))}, 1)
    results, lost_processes = send_in_processes(shards, report)
    return merge_results(plan, results, len(shards), lost_processes)


def _run_on_ray(plan: LoadPlan, progress: Progress) -> LoadResult:
    pacing = plan.make_pacing()
    if not pacing.divisible:
        kind = type(pacing).__name__
        raise ConfigError(f"{kind} paces a load in one client process, not on Ray", hint="load.executor=local")
    cluster.require_ray("load.executor=ray")
    processes = min(processes_for(plan, sys.maxsize), max(1, len(plan.requests)))
    progress.status("connecting to Ray")
    cluster.connect(max(processes, len(os.sched_getaffinity(0))))
    free = cluster.free_cpus(processes)
    if free < (1 if plan.processes == "auto" else processes):
        raise ConfigError(
            f"the Ray cluster has {free} free CPUs for {processes} client processes", hint="load.processes=1"
        )
    shards = split_into_shards(plan, min(processes, free))
    cluster_result = send_on_ray(shards, _reporter(plan, progress, len(shards)))
    return merge_results(plan, cluster_result.results, len(shards), cluster_result.lost, cluster_result.clocks)


def processes_for(plan: LoadPlan, most: int | None = None) -> int:
    """Return the number of client processes: ``plan.processes``, or if that is "auto", by chunk rate and open files.

    most: maximum for "auto", by default the number of cores - 1. Raises ConfigError if ``processes`` is invalid.
    """
    if plan.processes != "auto":
        if not plan.processes.isdigit() or int(plan.processes) < 1:
            raise ConfigError(f"load.processes={plan.processes} is not a number", hint="load.processes=auto, or 2")
        return int(plan.processes)
    if not plan.make_pacing().divisible:
        return 1
    if most is None:
        most = len(os.sched_getaffinity(0)) - 1
    for_chunks = math.ceil(_expected_chunks_per_s(plan) / CHUNKS_PER_PROCESS)
    return max(1, min(max(for_chunks, math.ceil(_certain_connections(plan) / most_connections())), most))


def _certain_connections(plan: LoadPlan) -> int:
    """Return how many requests are in flight together whatever the server does."""
    at_once = len(plan.requests) and plan.send_times_s[0] == plan.send_times_s[-1]
    return min(plan.max_in_flight or len(plan.requests), len(plan.requests)) if at_once else 0


def _expected_chunks_per_s(plan: LoadPlan) -> float:
    if not plan.streamed:
        return 0.0
    count = len(plan.requests)
    span_s = float(plan.send_times_s[-1] - plan.send_times_s[0]) if count else 0.0
    if span_s > 0:
        return sum(plan.requests.output_tokens) / span_s
    return (plan.max_in_flight or count) * _ASSUMED_CHUNKS_PER_STREAM


def merge_results(
    plan: LoadPlan,
    results: dict[int, ShardResult],
    parts: int,
    lost_processes: Sequence[str] = (),
    clocks: Sequence[NodeClock] = (),
) -> LoadResult:
    """Merge the results of all shards. results: by shard number; parts: the number of shards."""
    records = [result.records for result in results.values()]
    return LoadResult(
        records=records[0] if len(records) == 1 else Records.concat(records),
        facts=merge_facts(results.values(), parts, lost_processes, clocks),
        series=() if clocks else loop_lag_series(results.values()),  # other machines have clocks of their own
        texts=_texts(plan, results, parts) if plan.keep_text else None,
    )


def _texts(plan: LoadPlan, results: dict[int, ShardResult], parts: int) -> tuple[str, ...]:
    """Return the texts in the order of the requests: shard p sent the requests p, p + parts, p + 2 * parts, ..."""
    texts = [""] * len(plan.requests)
    for part, result in results.items():
        texts[part::parts] = result.texts
    return tuple(texts)


def _reporter(plan: LoadPlan, progress: Progress, parts: int) -> ProgressReporter:
    total = len(plan.requests)
    last_send_s = float(plan.send_times_s[-1]) if total and plan.make_pacing().open_loop else None
    return ProgressReporter(total, last_send_s, plan.max_in_flight, progress, parts)
