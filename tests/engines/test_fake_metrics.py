"""The fake engine's ``/metrics``: what it counts is what its clients saw, and what its scheduler did."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.engines.test_fake_server import Start, _drive, start
from tests.waiting import wait_for

from benchhydra.fakeserver.scheduler import ScheduledRequest, Scheduler
from benchhydra.records import Records

__all__ = ["start"]
LATENCY = "vllm:e2e_request_latency_seconds"


def metrics_of(server: Any) -> dict[str, float]:
    """The values by name, read by the reference parser; label sets are added up."""
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(server.get("/metrics")):
        for sample in family.samples:
            values[sample.name] = values.get(sample.name, 0.0) + sample.value
    return values


def mean_ms(metrics: dict[str, float], name: str) -> float:
    return metrics[f"vllm:{name}_seconds_sum"] / metrics[f"vllm:{name}_seconds_count"] * 1e3


def client_ms(records: Records) -> tuple[float, float]:
    """The client's mean TTFT and E2E latency."""
    ttft_ns, e2el_ns = records.first_ns - records.sent_ns, records.last_ns - records.sent_ns
    return float(np.mean(ttft_ns)) / 1e6, float(np.mean(e2el_ns)) / 1e6


@pytest.mark.alone
@pytest.mark.parametrize("where", [{}, {"stream": False}])
def test_the_histograms_agree_with_the_client(start: Start, where: dict[str, Any]) -> None:
    server = start(ttft_ms=20, itl_ms=4, max_concurrency=2)
    records = _drive(server.base_url, count=12, in_flight=6, tokens=6, **where)
    metrics = metrics_of(server)
    queue, prefill, decode = (mean_ms(metrics, f"request_{name}_time") for name in ("queue", "prefill", "decode"))
    assert metrics[f"{LATENCY}_count"] == metrics["vllm:time_to_first_token_seconds_count"] == 12
    assert metrics["vllm:inter_token_latency_seconds_count"] == 12 * 5
    assert (metrics["vllm:prompt_tokens_total"], metrics["vllm:generation_tokens_total"]) == (12 * 5, 12 * 6)
    assert mean_ms(metrics, "time_to_first_token") == pytest.approx(queue + prefill, abs=0.01)
    assert mean_ms(metrics, "e2e_request_latency") == pytest.approx(queue + prefill + decode, abs=2)
    assert prefill > 19 and prefill + decode > 39 and queue > 50  # a late prefill leaves less time to the decoding
    whole_ms = float(np.mean(records.done_ns - records.sent_ns)) / 1e6
    assert 0 < whole_ms - mean_ms(metrics, "e2e_request_latency") < 20
    if where.get("stream", True):
        assert 0 < client_ms(records)[0] - mean_ms(metrics, "time_to_first_token") < 20


def test_failed_answers_have_no_latency(start: Start) -> None:
    server = start(ttft_ms=1, itl_ms=0.2, early_end_fraction=1.0)
    _drive(server.base_url, count=5, in_flight=5)
    assert metrics_of(server)[f"{LATENCY}_count"] == 0


def test_a_prompt_costs_time_for_each_token_that_is_not_cached(start: Start) -> None:
    server = start(ttft_ms=1, itl_ms=0.2, prefill_us_per_token=1000)
    prompt = " ".join(f"w{i}" for i in range(64))
    prefills_ms = []
    for _ in range(6):
        before = metrics_of(server)["vllm:request_prefill_time_seconds_sum"]
        server.post("/v1/completions", model="m", prompt=prompt, max_tokens=1)
        prefills_ms.append((metrics_of(server)["vllm:request_prefill_time_seconds_sum"] - before) * 1e3)
    assert prefills_ms[0] >= 65
    assert 17 <= min(prefills_ms[1:]) < 40  # 16 of its tokens are computed; a busy machine makes some of them late


def test_without_prefix_caching_nothing_is_looked_up(start: Start) -> None:
    server = start(ttft_ms=1, itl_ms=0.2, prefix_caching=False)
    for _ in range(2):
        server.post("/v1/completions", model="m", prompt=" ".join(["w"] * 40), max_tokens=1)
    metrics = metrics_of(server)
    assert metrics["vllm:prefix_cache_queries_total"] == metrics["vllm:prefix_cache_hits_total"] == 0


def test_a_small_kv_cache_preempts_and_every_answer_is_whole(start: Start) -> None:
    server = start(ttft_ms=2, itl_ms=1, kv_cache_tokens=50)
    records = _drive(server.base_url, count=16, in_flight=8, tokens=20)
    metrics = metrics_of(server)
    assert (records.output_tokens == 20).all()
    assert metrics["vllm:num_preemptions_total"] > 0
    assert metrics["vllm:request_queue_time_seconds_sum"] > 0
    assert metrics[f"{LATENCY}_count"] == 16
    wait_for(lambda: metrics_of(server)["vllm:num_requests_running"] == 0, 60, "the last answers to end")
    assert metrics_of(server)["vllm:kv_cache_usage_perc"] == 0


def test_speculation_needs_fewer_steps_and_counts_by_position(start: Start) -> None:
    server = start(ttft_ms=1, itl_ms=2, draft_tokens=3, acceptance=0.5)
    records = _drive(server.base_url, count=40, in_flight=8, tokens=30)
    metrics = metrics_of(server)
    drafts = metrics["vllm:spec_decode_num_drafts_total"]
    accepted = metrics["vllm:spec_decode_num_accepted_tokens_total"]
    assert (records.output_tokens == 30).all()
    assert metrics["vllm:spec_decode_num_draft_tokens_total"] == 3 * drafts
    assert accepted / drafts == pytest.approx(0.5 + 0.25 + 0.125, abs=0.15)
    by_position = [
        sample.value
        for family in text_string_to_metric_families(server.get("/metrics"))
        for sample in family.samples
        if sample.name == "vllm:spec_decode_num_accepted_tokens_per_pos_total"
    ]
    assert by_position == sorted(by_position, reverse=True) and sum(by_position) == accepted
    assert (records.chunks - 1).sum() == drafts == metrics["vllm:inter_token_latency_seconds_count"]


@pytest.mark.alone
def test_a_prefill_stops_decoding_unless_it_is_chunked(start: Start) -> None:
    slowest_ms = {}
    for chunked in (True, False):
        server = start(ttft_ms=60, ttft_sigma=0.5, itl_ms=2, chunked_prefill=chunked, max_concurrency=4)
        records = _drive(server.base_url, count=12, in_flight=4, tokens=30)
        slowest_ms[chunked] = np.quantile(records.gaps_ns, 0.99) / 1e6
    assert slowest_ms[False] > 20 > slowest_ms[True]


@pytest.mark.alone
def test_other_running_requests_slow_decoding(start: Start) -> None:
    server = start(ttft_ms=5, itl_ms=1, itl_per_request_ms=2)
    records = _drive(server.base_url, count=8, in_flight=4, tokens=10)
    decode_ms = np.mean(records.last_ns - records.first_ns) / 1e6
    assert 9 * 5 <= decode_ms < 9 * 9  # 1 + 2 * 3 ms a gap, less while an answer begins or ends


def test_requests_start_in_order_and_the_newest_is_preempted() -> None:
    async def scenario() -> list[list[ScheduledRequest]]:
        scheduler = Scheduler(max_running=0, kv_cache_tokens=10)
        first, second, third = ScheduledRequest(4), ScheduledRequest(4), ScheduledRequest(4)
        assert not await scheduler.admit(first) and not await scheduler.admit(second)
        waits = asyncio.create_task(scheduler.admit(third))
        await asyncio.sleep(0)
        states = [list(scheduler.waiting)]
        scheduler.grow(first, 3)  # 7 + 4 tokens do not fit
        states.append(list(scheduler.waiting))
        assert second.preemptions == 1 and scheduler.kv_cache_usage() == 0.7
        scheduler.release(first)
        assert await waits
        assert scheduler.running == [second, third] and scheduler.preemptions == 1
        return states

    waiting = asyncio.run(scenario())
    assert [len(requests) for requests in waiting] == [1, 2]
    assert waiting[1][0].preemptions  # in front of the one that waited before


def test_a_request_larger_than_the_cache_runs_alone() -> None:
    async def scenario() -> None:
        scheduler = Scheduler(max_running=0, kv_cache_tokens=10)
        await scheduler.admit(ScheduledRequest(25))
        assert scheduler.kv_cache_usage() == 1.0

    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.parametrize("seed", range(20))
def test_the_scheduler_counts_what_running_requests_hold(seed: int) -> None:
    rng, scheduler = random.Random(seed), Scheduler(max_running=6, kv_cache_tokens=50)

    def check() -> None:
        assert scheduler._used_tokens == sum(request.tokens for request in scheduler.running)
        assert not set(scheduler.running) & set(scheduler.waiting)

    async def generate() -> None:
        request = ScheduledRequest(5)
        try:
            await scheduler.admit(request)
            for _ in range(20):
                await asyncio.sleep(rng.choice([0, 0, 0.0005]))
                seen = -1
                while request.preemptions > seen:
                    seen = request.preemptions
                    await scheduler.wait_turn(request)
                    await asyncio.sleep(rng.choice([0, 0.0005]))
                scheduler.grow(request, 1)
                check()
                if rng.random() < 0.02:
                    return  # its client has gone
        finally:
            scheduler.release(request)
            check()

    async def scenario() -> None:
        await asyncio.gather(*(generate() for _ in range(16)))

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert scheduler.kv_cache_usage() == 0 and scheduler.preemptions > 0
