"""A shard: the part of a load that one client process sends, its progress and its result."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchhydra.client import Endpoint
from benchhydra.client.request_store import RequestStore
from benchhydra.loadgen.client_behaviour import ClientBehaviour
from benchhydra.loadgen.early_stop import EarlyStop
from benchhydra.loadgen.pacing import Pacing
from benchhydra.loadgen.plan import LoadPlan
from benchhydra.records import Phase, Recorder, Records, Status


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The part of a load that one process sends."""

    endpoint: Endpoint
    requests: RequestStore
    pacing: Pacing
    stream: bool  # answers come as streams of events
    full_length: bool  # an answer with fewer tokens than requested is SHORT
    timeout_s: float
    keep_text: bool
    behaviour: ClientBehaviour = field(default_factory=ClientBehaviour)
    early_stop: EarlyStop | None = None


@dataclass(kw_only=True)
class ShardProgress:
    """The progress of a shard: requests done and failed, and TTFTs since the last report."""

    done: int = 0
    failed: int = 0
    ttft_sum_ns: int = 0  # since the last report
    ttft_count: int = 0


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """The outcome of a shard.

    facts: measured by the process about itself. stalls_ns: lateness of the event loop's timer, by beat, the first one
    ``loop_lag.PERIOD_NS`` after ``start_ns`` (the process's clock); lags_ns: the client's own lateness, by request in
    order of sending. texts: by request of the shard; () without keep_text.
    """

    records: Records
    interrupted: bool
    facts: Mapping[str, Any]
    start_ns: int
    stalls_ns: array[float]
    lags_ns: array[float]
    texts: tuple[str, ...] = field(default=())


ReportProgress = Callable[[ShardProgress], None]


def split_into_shards(plan: LoadPlan, parts: int) -> list[Shard]:
    """Split a plan into at most ``parts`` shards, request by request in turn. Raises ConfigError if not possible."""
    pacings = plan.make_pacing().split(parts)
    return [
        Shard(
            endpoint=plan.endpoint,
            requests=plan.requests if len(pacings) == 1 else plan.requests.every_nth(part, len(pacings)),
            pacing=pacing,
            stream=plan.streamed,
            full_length=plan.endpoint.api.generates and plan.endpoint.api.fixed_length(plan.options),
            timeout_s=plan.timeout_s,
            keep_text=plan.keep_text,
            behaviour=plan.behaviour.every_nth(part, len(pacings)),
            early_stop=plan.early_stop if len(pacings) == 1 else None,
        )
        for part, pacing in enumerate(pacings)
    ]


def lost_shard(shard: Shard, start_ns: int, why: str) -> ShardResult:
    """Return the result of a shard whose process died: every request CANCELLED, with only its scheduled time."""
    count = len(shard.requests)
    recorder = Recorder(count)
    recorder.counts["asked_prompt_tokens"] = shard.requests.prompt_tokens
    recorder.counts["asked_output_tokens"] = shard.requests.output_tokens
    recorder.counts["phase"] = array("i", [Phase.MEASURED]) * count
    recorder.labels.update(shard.requests.labels)
    scheduled_ns = (shard.pacing.send_times_s * 1e9).astype(np.int64) + start_ns
    recorder.times["scheduled_ns"] = array("q", scheduled_ns.tobytes())
    for row in range(count):
        recorder.error(row, Status.CANCELLED, why)
    return ShardResult(
        records=recorder.records(),
        interrupted=False,
        facts={},
        start_ns=start_ns,
        stalls_ns=array("f"),
        lags_ns=array("f"),
        texts=("",) * count if shard.keep_text else (),
    )


def mark_interrupted(results: dict[int, ShardResult], signals: Sequence[int]) -> dict[int, ShardResult]:
    """Return the results, marked as interrupted if there was a signal; it may have arrived after the last answer."""
    return {part: replace(result, interrupted=True) for part, result in results.items()} if signals else results
