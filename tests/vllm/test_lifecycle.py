"""Real vLLM behind the pool: resets that empty the cache, reuse, exact counts, and nothing left at the end."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchhydra.engines import ServerSpec
from benchhydra.engines.vllm import Vllm
from benchhydra.fetch import HttpResponse
from benchhydra.probes import ProbeTarget
from benchhydra.probes.server import read_metrics
from benchhydra.progress import Progress
from benchhydra.servers import Lease, ports, prefix_probe
from benchhydra.servers.caches import PREFIX_RESET, reset_caches
from benchhydra.servers.health import ControlPlane
from benchhydra.servers.pool import ServerPool
from benchhydra.target import Target

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(240)]

PROMPT = "one two three four five six seven eight nine ten " * 30


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[ServerPool]:
    pool = ServerPool(tmp_path / "logs")
    yield pool
    pool.close()


def family(pid: int | None) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def figures(lease: Lease) -> dict[str, float]:
    reading = read_metrics(ProbeTarget(client_pid=0, base_url=lease.base_url))
    assert reading
    return {**reading.gauges, **{name: value for (name, _), value in reading.counters.items()}}


def complete(lease: Lease, model: str, tokens: int) -> dict[str, int]:
    """The usage that the server says of one completion."""
    connection = http.client.HTTPConnection(lease.base_url.removeprefix("http://"), timeout=60)
    body = {"model": model, "prompt": PROMPT, "max_tokens": tokens, "ignore_eos": True, "temperature": 0}
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    usage: dict[str, int] = answer["usage"]
    return usage


def hits_of_one(lease: Lease, model: str) -> float:
    """Tokens that one request finds in the prefix cache."""
    before = figures(lease)
    complete(lease, model, 2)
    return figures(lease)["prefix_cache_hits"] - before["prefix_cache_hits"]


class OldVllm(ControlPlane):
    """vLLM as it was until 0.31: it answers a reset with an empty 200."""

    def fetch(self, path: str, method: str = "GET", **request: Any) -> HttpResponse:
        answer = super().fetch(path, method, **request)
        return HttpResponse(status=answer.status, body=b"") if path == PREFIX_RESET else answer


def empty_caches_without_the_answers_body(lease: Lease, model: str) -> None:
    """The log and the counters of a real vLLM prove a reset, each without the other; without a reset they do not."""
    control = OldVllm(base_url=lease.base_url)
    for log in (lease.log, None):
        assert hits_of_one(lease, model) > 100  # the prompt has been sent before
        assert reset_caches(control, log) is True
        assert hits_of_one(lease, model) == 0
    assert prefix_probe.proves_empty(control, lambda: True) is False


def lease_of(pool: ServerPool, spec: ServerSpec) -> Iterator[Lease]:
    with pool.lease(spec, Progress(), ready_timeout_s=180, stop_timeout_s=20, headers={}) as lease:
        yield lease


def test_a_server_is_reused_with_an_empty_cache_and_stopped_whole(pool: ServerPool, tiny: Target) -> None:
    spec = Vllm(args={"max_model_len": 2048}).server(tiny)
    for first in lease_of(pool, spec):
        processes = family(first.pid)
        assert hits_of_one(first, tiny.served_name) == 0
        assert hits_of_one(first, tiny.served_name) > 100
        assert first.reset() is True
        assert hits_of_one(first, tiny.served_name) == 0
        empty_caches_without_the_answers_body(first, tiny.served_name)
        before = figures(first)
        usage = complete(first, tiny.served_name, 7)
        after = figures(first)
        assert after["generation_tokens"] - before["generation_tokens"] == 7
        assert after["prompt_tokens"] - before["prompt_tokens"] == usage["prompt_tokens"]
        assert after["requests_running"] == after["requests_waiting"] == 0
        assert 0 <= after["kv_cache_usage_fraction"] < 1
    for second in lease_of(pool, spec):
        assert (second.fresh, second.cache_reset, second.pid) == (False, True, first.pid)
        assert hits_of_one(second, tiny.served_name) == 0
    pool.close()
    assert pool.starts == 1
    assert len(processes) >= 3  # supervisor, API server, engine core
    assert not any(process.is_running() for process in processes)
    assert ports.listeners(int(first.base_url.rpartition(":")[2])) == set()


def test_the_offline_engine_counts_exactly_and_is_stopped_whole(pool: ServerPool, tiny: Target) -> None:
    spec = Vllm(args={"max_model_len": 2048}).offline(tiny)
    for lease in lease_of(pool, spec):
        processes = family(lease.pid)
        ask = {"op": "generate", "prompts": [PROMPT, "hello"], "output_tokens": [5, 17], "keep_text": True}
        answer = lease.call(ask, timeout_s=60)
        assert answer["output_tokens"] == [5, 17]
        assert answer["prompt_tokens"][0] > answer["prompt_tokens"][1] > 0
        assert answer["end_ns"] > answer["start_ns"]
        assert len(answer["texts"]) == 2
        assert lease.reset() is True
    pool.close()
    assert not any(process.is_running() for process in processes)
