"""The fake engine's scheduler: which requests run, which wait for a slot or for room in the KV cache.

It does as vLLM's: first come, first served; a prompt starts when its tokens fit into the KV cache; when a running
request finds no room for a new token, the request that started last is preempted: it loses its tokens in the cache,
waits in front of the others, and computes its tokens again.
"""

from __future__ import annotations

import asyncio
import bisect
import time


class ScheduledRequest:
    """A request's place. tokens: that it holds, or needs to start, in the KV cache; priority: low ones go first."""

    def __init__(self, tokens: int, priority: int = 0) -> None:
        self.tokens = tokens
        self.priority = priority
        self.admitted_ns = self.preemptions = 0
        self.turn: asyncio.Future[None] | None = None  # while it waits


class Scheduler:
    """Admits requests. ``max_running``, ``kv_cache_tokens``: 0 means no limit."""

    def __init__(self, max_running: int, kv_cache_tokens: int) -> None:
        self.running: list[ScheduledRequest] = []
        self.waiting: list[ScheduledRequest] = []
        self.most_running = self.preemptions = 0
        self._max_running = max_running
        self._kv_cache_tokens = kv_cache_tokens
        self._used_tokens = 0

    def kv_cache_usage(self) -> float | None:
        """Return the used fraction of the KV cache; None if its size has no limit."""
        return min(1.0, self._used_tokens / self._kv_cache_tokens) if self._kv_cache_tokens else None

    async def admit(self, request: ScheduledRequest) -> bool:
        """Return when the request runs; returns whether it had to wait."""
        if not self.waiting and self._fits(request):
            self._start(request)
            return False
        bisect.insort_right(self.waiting, request, key=lambda waiting: waiting.priority)
        await self.wait_turn(request)
        return True

    async def wait_turn(self, request: ScheduledRequest) -> None:
        """Wait while the request is among those that wait. It may be preempted again before it runs on."""
        while request in self.waiting:
            request.turn = asyncio.get_running_loop().create_future()
            await request.turn

    def grow(self, request: ScheduledRequest, tokens: int) -> None:
        """Add generated tokens to what a running request holds; preempt the newest requests if there is no room."""
        request.tokens += tokens
        self._used_tokens += tokens
        while self._kv_cache_tokens and self._used_tokens > self._kv_cache_tokens and len(self.running) > 1:
            self._preempt(self.running[-1])

    def release(self, request: ScheduledRequest) -> None:
        """End a request, running or waiting."""
        if request in self.waiting:
            self.waiting.remove(request)
        else:
            self._stop(request)
        self._start_waiting()

    def _fits(self, request: ScheduledRequest) -> bool:
        """A request that is larger than the whole cache runs alone."""
        slot = not self._max_running or len(self.running) < self._max_running
        room = self._used_tokens + request.tokens <= (self._kv_cache_tokens or request.tokens + self._used_tokens)
        return slot and (room or not self.running)

    def _start(self, request: ScheduledRequest) -> None:
        request.admitted_ns = time.monotonic_ns()
        self.running.append(request)
        self._used_tokens += request.tokens
        self.most_running = max(self.most_running, len(self.running))

    def _stop(self, request: ScheduledRequest) -> None:
        self.running.remove(request)
        self._used_tokens -= request.tokens

    def _preempt(self, request: ScheduledRequest) -> None:
        self._stop(request)
        request.preemptions += 1
        self.preemptions += 1
        self.waiting.insert(0, request)

    def _start_waiting(self) -> None:
        while self.waiting and self._fits(self.waiting[0]):
            request = self.waiting.pop(0)
            self._start(request)
            if request.turn is not None and not request.turn.done():
                request.turn.set_result(None)
