"""What one client process is given to send, and what it gives back."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchhydra.client import Endpoint, Requests
from benchhydra.loadgen.pacing import Pacing
from benchhydra.loadgen.plan import LoadPlan
from benchhydra.records import Phase, Recorder, Records, Status


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What one process sends."""

    endpoint: Endpoint
    requests: Requests
    pacing: Pacing
    stream: bool  # answers come as streams of events
    full_length: bool  # an answer with fewer tokens than asked for is SHORT
    timeout_s: float
    keep_text: bool


@dataclass(kw_only=True)
class ShardProgress:
    """How far a shard is."""

    done: int = 0
    failed: int = 0
    ttft_sum_ns: int = 0  # since the last report
    ttft_count: int = 0


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """What came of a shard.

    facts: what the process knows of itself. stalls_ns: lateness of the event loop's timer; lags_ns: of the client in
    sending, by request; both in the order in which they were measured. texts: by request of the shard, with keep_text.
    """

    records: Records
    interrupted: bool
    facts: Mapping[str, Any]
    stalls_ns: array[float]
    lags_ns: array[float]
    texts: tuple[str, ...] = field(default=())


ReportProgress = Callable[[ShardProgress], None]


def split_into_shards(plan: LoadPlan, parts: int) -> list[Shard]:
    """The plan in at most so many shards: every n-th request to each. Raises ConfigError where it cannot be split."""
    pacings = plan.make_pacing().split(parts)
    return [
        Shard(
            endpoint=plan.endpoint,
            requests=plan.requests if len(pacings) == 1 else plan.requests.every_nth(part, len(pacings)),
            pacing=pacing,
            stream=plan.streamed,
            full_length=plan.options.ignore_eos and plan.endpoint.api.generates,
            timeout_s=plan.timeout_s,
            keep_text=plan.keep_text,
        )
        for part, pacing in enumerate(pacings)
    ]


def lost_shard(shard: Shard, start_ns: int, why: str) -> ShardResult:
    """A row for each request of a shard whose process is gone: recorded as CANCELLED, with only the scheduled time."""
    count = len(shard.requests)
    recorder = Recorder(count)
    recorder.counts["asked_prompt_tokens"] = shard.requests.prompt_tokens
    recorder.counts["asked_output_tokens"] = shard.requests.output_tokens
    recorder.counts["phase"] = array("i", [Phase.MEASURED]) * count
    scheduled_ns = (shard.pacing.send_times_s * 1e9).astype(np.int64) + start_ns
    recorder.times["scheduled_ns"] = array("q", scheduled_ns.tobytes())
    for row in range(count):
        recorder.error(row, Status.CANCELLED, why)
    return ShardResult(
        records=recorder.records(),
        interrupted=False,
        facts={},
        stalls_ns=array("f"),
        lags_ns=array("f"),
        texts=("",) * count if shard.keep_text else (),
    )


def mark_interrupted(results: dict[int, ShardResult], signals: Sequence[int]) -> dict[int, ShardResult]:
    """The results, as interrupted where a signal came: it may have come after the last answer."""
    return {part: replace(result, interrupted=True) for part, result in results.items()} if signals else results
