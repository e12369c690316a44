"""What one process is given to send, and what it gives back."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from benchhydra.client import Endpoint, Requests
from benchhydra.records import Phase, Recorder, Records, Status


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What one process sends."""

    endpoint: Endpoint
    requests: Requests
    offsets_s: npt.NDArray[np.float64]
    max_in_flight: int | None
    closed_loop: bool
    timeout_s: float
    ignore_eos: bool
    keep_text: bool


@dataclass(kw_only=True)
class ShardProgress:
    """How far a share is."""

    done: int = 0
    failed: int = 0
    ttft_sum_ns: int = 0  # since the last report
    ttft_count: int = 0


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """What came of a share."""

    records: Records
    interrupted: bool
    cpu_share: float | None
    awake_s: float  # while its loop was kept from sleeping
    stalls_ns: array[float]
    lags_ns: array[float]
    texts: tuple[str, ...] = field(default=())  # by request of the share, with keep_text


Report = Callable[[ShardProgress], None]


def lost_shard(share: Shard, start_ns: int, why: str) -> ShardResult:
    """A row for each request of a share whose sender is gone: when it was due, and that nobody knows more."""
    count = len(share.requests)
    recorder = Recorder(count)
    recorder.counts["asked_prompt_tokens"] = share.requests.prompt_tokens
    recorder.counts["asked_output_tokens"] = share.requests.output_tokens
    recorder.counts["phase"] = array("i", [Phase.MEASURED]) * count
    due_ns = (share.offsets_s * 1e9).astype(np.int64) + start_ns
    recorder.times["scheduled_ns"] = array("q", due_ns.tobytes())
    for row in range(count):
        recorder.error(row, Status.CANCELLED, why)
    return ShardResult(
        records=recorder.records(),
        interrupted=False,
        cpu_share=None,
        awake_s=0.0,
        stalls_ns=array("f"),
        lags_ns=array("f"),
        texts=("",) * count if share.keep_text else (),
    )


def mark_interrupted(sent: dict[int, ShardResult], asked: list[int]) -> dict[int, ShardResult]:
    """What was sent, as interrupted where ``asked`` holds a signal: it may have come after the last answer."""
    return {part: replace(one, interrupted=True) for part, one in sent.items()} if asked else sent
