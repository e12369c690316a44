"""Adds up the progress of the client processes for the progress line."""

from __future__ import annotations

from time import monotonic_ns

from benchhydra.loadgen.shards import ShardProgress
from benchhydra.progress import LoadProgress, Progress

_REPORT_NS = 200_000_000


class ProgressReporter:
    """Receives the progress of each shard, and reports the sum at most 5 times per second.

    last_send_s: scheduled time of the last request; None if that depends on answers. max_in_flight: the most requests
    in flight; None: no limit.
    """

    def __init__(
        self, total: int, last_send_s: float | None, max_in_flight: int | None, progress: Progress, parts: int
    ) -> None:
        self._progress = progress
        self._total = total
        self._last_send_s = last_send_s
        self._max_in_flight = max_in_flight
        self._parts = [ShardProgress() for _ in range(parts)]
        self._started_ns = self._reported_ns = monotonic_ns()

    def __call__(self, part: int, progress: ShardProgress) -> None:
        self._parts[part] = progress
        now_ns = monotonic_ns()
        if part == 0 and now_ns - self._reported_ns > _REPORT_NS:
            self._reported_ns = now_ns
            self._report((now_ns - self._started_ns) / 1e9)

    def _report(self, elapsed_s: float) -> None:
        done = sum(part.done for part in self._parts)
        with_ttft = sum(part.ttft_count for part in self._parts)
        ttft_ms = sum(part.ttft_sum_ns for part in self._parts) / with_ttft / 1e6 if with_ttft else None
        rate = done / elapsed_s if elapsed_s > 0 else None
        left_s = (self._total - done) / rate if rate else None
        if self._last_send_s is not None:
            left_s = max(0.0, self._last_send_s - elapsed_s)
        failed = sum(part.failed for part in self._parts)
        waiting = self._total - done if self._all_sent(done, elapsed_s) else None
        self._progress.requests(LoadProgress(done, self._total, failed, rate, ttft_ms, left_s, waiting))

    def _all_sent(self, done: int, elapsed_s: float) -> bool:
        """Return whether only answers are missing: the schedule is over, and no request waits for a free slot."""
        unanswered = self._total - done
        if not unanswered or (self._last_send_s is not None and elapsed_s < self._last_send_s):
            return False
        if self._max_in_flight is None:
            return self._last_send_s is not None
        return unanswered <= self._max_in_flight
