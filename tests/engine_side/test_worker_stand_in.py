"""The protocol of offline engines, through the pool: exact counts, and failures that are told with the log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchhydra.engines import ServerSpec
from benchhydra.errors import EngineError
from benchhydra.progress import Progress
from benchhydra.servers import Lease
from benchhydra.servers.pool import ServerPool

ENGINE_SIDE = Path(__file__).resolve().parents[2] / "src/benchhydra/engine_side"
BROKEN = f"""
import os, sys, time
sys.path.insert(0, {str(ENGINE_SIDE)!r})
from worker_protocol import serve

class Broken:
    def versions(self):
        print("noise of the engine")
        return {{"engine": "1"}}

    def generate(self, request):
        if request["prompts"] == ["die"]:
            sys.stderr.write("OutOfMemoryError: no room for the cache\\n")
            os._exit(9)
        if request["prompts"] == ["sleep"]:
            time.sleep(600)
        raise ValueError("bad prompt")

    def reset(self):
        return False

serve(Broken)
"""


def request(*prompts: str) -> dict[str, object]:
    return {"op": "generate", "prompts": list(prompts), "output_tokens": [4] * len(prompts)}


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[ServerPool]:
    pool = ServerPool(tmp_path / "logs")
    yield pool
    pool.close()


def lease_of(pool: ServerPool, *argv: str) -> Iterator[Lease]:
    spec = ServerSpec(kind="worker", argv=(sys.executable, *argv))
    with pool.lease(spec, Progress(), ready_timeout_s=60, stop_timeout_s=2, headers={}) as lease:
        yield lease


@pytest.fixture
def sleeper(pool: ServerPool) -> Iterator[Lease]:
    yield from lease_of(pool, str(ENGINE_SIDE / "fake_worker.py"), "--ttft-ms", "20", "--itl-ms", "5")


@pytest.fixture
def broken(pool: ServerPool) -> Iterator[Lease]:
    yield from lease_of(pool, "-S", "-c", BROKEN)


def test_counts_texts_and_times_are_exact(sleeper: Lease) -> None:
    ask = {"op": "generate", "prompts": ["a b c", "d"], "output_tokens": [1, 9], "keep_text": True}
    before_ns = time.monotonic_ns()
    answer = sleeper.call(ask, timeout_s=60)
    assert answer["prompt_tokens"] == [3, 1]
    assert answer["output_tokens"] == [1, 9]
    assert [len(text.split()) for text in answer["texts"]] == [1, 9]
    assert before_ns <= answer["start_ns"] < answer["end_ns"] <= time.monotonic_ns()
    assert answer["end_ns"] - answer["start_ns"] >= 60e6
    assert answer["first_ns"] == [answer["start_ns"] + 20_000_000] * 2


def test_an_answer_of_many_megabytes_arrives_whole(sleeper: Lease) -> None:
    ask = {"op": "generate", "prompts": ["é " * 300_000] * 3, "output_tokens": [1, 1, 1], "keep_text": True}
    assert sleeper.call(ask, timeout_s=60)["prompt_tokens"] == [300_000] * 3


def test_an_unknown_op_is_refused_and_the_engine_keeps_running(sleeper: Lease) -> None:
    with pytest.raises(EngineError, match="no such op: dance"):
        sleeper.call({"op": "dance"}, timeout_s=60)
    assert sleeper.call(request("a"), timeout_s=60)["output_tokens"] == [4]


def test_what_the_engine_prints_goes_to_the_log(broken: Lease) -> None:
    assert broken.log is not None and "noise of the engine" in broken.log.read_text()


def test_an_error_of_the_engine_is_reported(broken: Lease) -> None:
    with pytest.raises(EngineError, match="the offline engine failed: ValueError: bad prompt"):
        broken.call(request("x"), timeout_s=60)


def test_a_dead_worker_is_reported_with_its_cause(broken: Lease) -> None:
    with pytest.raises(EngineError, match=r"exited with code 9: OutOfMemoryError: no room[\s\S]*last lines"):
        broken.call(request("die"), timeout_s=60)


def test_a_silent_worker_times_out_and_is_replaced(pool: ServerPool, broken: Lease) -> None:
    with pytest.raises(EngineError, match=r"did not answer within 0\.3 s"):
        broken.call(request("sleep"), timeout_s=0.3)
    with pytest.raises(EngineError, match="in the middle of another request"):
        broken.call(request("x"), timeout_s=60)
    spec = ServerSpec(kind="worker", argv=(sys.executable, "-S", "-c", BROKEN))
    with pool.lease(spec, Progress(), ready_timeout_s=60, stop_timeout_s=2, headers={}) as again:
        assert (again.fresh, again.restarted) == (True, True)


def test_a_reset_that_the_engine_only_logs_is_proven(pool: ServerPool) -> None:
    """vLLM's ``LLM.reset_prefix_cache`` returned nothing until 0.31."""
    logging = 'print("(EngineCore pid=7) INFO [block_pool.py:378] Successfully reset prefix cache", flush=True)'
    worker = BROKEN.replace("        return False\n", f"        {logging}\n        return False\n")
    spec = ServerSpec(kind="worker", argv=(sys.executable, "-S", "-c", worker))
    for reused in (False, True):
        with pool.lease(spec, Progress(), ready_timeout_s=60, stop_timeout_s=2, headers={}) as lease:
            assert (lease.fresh, lease.cache_reset) == (not reused, True if reused else None)
            assert lease.reset() is True
    assert pool.starts == 1


def test_an_unproven_reset_restarts_the_worker(pool: ServerPool, broken: Lease) -> None:
    assert broken.reset() is False
    spec = ServerSpec(kind="worker", argv=(sys.executable, "-S", "-c", BROKEN))
    with pool.lease(spec, Progress(), ready_timeout_s=60, stop_timeout_s=2, headers={}) as again:
        assert (again.restarted, again.cache_reset) == (True, None)
