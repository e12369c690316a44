"""The fake engine: when the chunks of each answer are due, and what the engine's metrics record of it."""

from __future__ import annotations

import argparse
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchhydra.fakeserver.clock import FakeClock
from benchhydra.fakeserver.metrics import EngineMetrics
from benchhydra.fakeserver.plan import AnswerPlan
from benchhydra.fakeserver.prefix_cache import MAX_BLOCKS, Prefix, PrefixCache
from benchhydra.fakeserver.scheduler import ScheduledRequest, Scheduler


class FakeEngine:
    """What all generations share: the scheduler, the prefix cache, the metrics."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.clock = FakeClock()
        self.cache = PrefixCache(args.prefix_cache_blocks or MAX_BLOCKS, args.prefix_block_tokens)
        self.scheduler = Scheduler(args.max_concurrency, args.kv_cache_tokens)
        self.metrics = EngineMetrics(drafted=args.draft_tokens > 0)
        self.prefill_until_ns = 0  # without chunked prefill: no request decodes before this

    def metrics_text(self) -> str:
        """Return the text of ``/metrics``."""
        self.metrics.preemptions = self.scheduler.preemptions
        counters = {"prefix_cache_queries": self.cache.queries, "prefix_cache_hits": self.cache.hits}
        gauges: dict[str, float] = {
            "num_requests_running": len(self.scheduler.running),
            "num_requests_waiting": len(self.scheduler.waiting),
        }
        usage = self.scheduler.kv_cache_usage()
        if usage is not None:
            gauges["kv_cache_usage_perc"] = usage
        block_tokens = None if self.args.no_prefix_caching else self.args.prefix_block_tokens
        return self.metrics.text(self.args.model, dict(counters), gauges, block_tokens)

    @asynccontextmanager
    async def generation(
        self, plan: AnswerPlan, words: list[Any], arrival_ns: int, salt: str = "", priority: int = 0
    ) -> AsyncIterator[Generation]:
        """Wait until the scheduler admits the request, and yield its generation; it ends with the context.

        salt: prompts with another one share nothing in the prefix cache. priority: lower ones are admitted first.
        """
        request = ScheduledRequest(len(words), priority if self.args.priority_scheduling else 0)
        try:
            queued = await self.scheduler.admit(request)
            prefix = None if self.args.no_prefix_caching else self.cache.look_up(words, salt)
            yield Generation(self, plan, request, arrival_ns, request.admitted_ns if queued else arrival_ns, prefix)
        finally:
            self.scheduler.release(request)


class Generation:
    """One answer while it is generated. Call ``next_chunk`` for each chunk of the plan, in order, then ``finish``."""

    def __init__(
        self,
        engine: FakeEngine,
        plan: AnswerPlan,
        request: ScheduledRequest,
        arrival_ns: int,
        scheduled_ns: int,
        prefix: Prefix | None,
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._request = request
        self._prefix = prefix
        self._prompt_tokens = request.tokens
        self._arrival_ns, self._scheduled_ns = arrival_ns, scheduled_ns
        self._first_ns = self._last_ns = 0
        self._due_ns = scheduled_ns
        self._chunk = 0
        self._preemptions = request.preemptions
        cached_tokens = prefix.hits if prefix is not None else 0
        self._prefill_ns = plan.first_wait_ns() + self._prefill_cost_ns(request.tokens - cached_tokens)

    async def next_chunk(self) -> None:
        """Wait until the next chunk is due, and record it."""
        first = self._chunk == 0
        if first:
            self._plan_prefill()
        else:
            others = len(self._engine.scheduler.running) - 1
            self._due_ns += self._plan.next_wait_ns() + int(others * self._engine.args.itl_per_request_ms * 1e6)
        await self._wait_due(prefilling=first)
        self._use_cpu()
        self._record_chunk(self._plan.sizes[self._chunk])
        self._chunk += 1

    def finish(self) -> None:
        """Record the times of a whole answer, and keep it in the prefix cache."""
        if self._prefix is not None:
            self._engine.cache.store_answer(self._prefix, self._plan.text(self._plan.tokens).split())
        histograms = self._engine.metrics.histograms
        histograms["queue"].observe(self._scheduled_ns - self._arrival_ns)
        histograms["prefill"].observe(self._first_ns - self._scheduled_ns)
        histograms["decode"].observe(self._last_ns - self._first_ns)
        histograms["e2el"].observe(time.monotonic_ns() - self._arrival_ns)

    def _plan_prefill(self) -> None:
        self._due_ns += self._prefill_ns
        if self._engine.args.no_chunked_prefill:
            self._engine.prefill_until_ns = max(self._engine.prefill_until_ns, self._due_ns)

    async def _wait_due(self, *, prefilling: bool) -> None:
        """Wait until the chunk is due; it is due later if the request was preempted, or a prefill stops decoding."""
        engine, request = self._engine, self._request
        while True:
            await engine.clock.until(self._due_ns)
            if request.preemptions > self._preemptions:
                self._preemptions = request.preemptions
                await engine.scheduler.wait_turn(request)
                recomputed_ns = self._plan.first_wait_ns() + self._prefill_cost_ns(request.tokens)
                self._due_ns = max(self._due_ns, request.admitted_ns + recomputed_ns)
            elif not prefilling and self._due_ns < engine.prefill_until_ns:
                self._due_ns = engine.prefill_until_ns
            else:
                return

    def _use_cpu(self) -> None:
        """Use CPU time in the event loop, so that other programs on its core slow the engine down."""
        end_ns = time.thread_time_ns() + int(self._engine.args.cpu_us_per_chunk * 1e3)
        while time.thread_time_ns() < end_ns:
            pass

    def _record_chunk(self, size: int) -> None:
        now_ns, metrics = time.monotonic_ns(), self._engine.metrics
        metrics.generation_tokens += size
        if self._chunk == 0:
            self._first_ns = now_ns
            metrics.prompt_tokens += self._prompt_tokens
            metrics.histograms["ttft"].observe(now_ns - self._arrival_ns)
        else:
            metrics.histograms["itl"].observe(now_ns - self._last_ns)
            if self._plan.accepted:
                metrics.record_draft(self._engine.args.draft_tokens, self._plan.accepted[self._chunk - 1])
        self._last_ns = now_ns
        self._engine.scheduler.grow(self._request, size)

    def _prefill_cost_ns(self, tokens: int) -> int:
        return int(tokens * self._engine.args.prefill_us_per_token * 1e3)
