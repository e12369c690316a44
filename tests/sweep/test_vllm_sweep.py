"""A sweep on real vLLM: each server starts once, whatever the order of the arguments.

Two servers, because each takes half a minute to start; ``benchmarks/sweep_overhead.py`` has twelve points on four.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.vllm.servers import NO_WORKER_PROCESS

Sweeps = Any  # the fixture ``sweeps`` of conftest.py
SEQS = "engine.args.max_num_seqs"


@pytest.mark.vllm
def test_six_points_on_two_servers(sweeps: Sweeps) -> None:
    words = ["model=tiny", "engine=vllm", "qps=1,5,10", f"{SEQS}=64,128", "num_prompts=3", *NO_WORKER_PROCESS]
    # the other tests set keys of the fake engine, which vLLM does not have
    fakes = ("engine.ttft", "engine.itl", "engine=fake")
    words = [word for word in sweeps.command(*words) if not word.startswith(fakes)]
    assert sweeps.run_words(words, timeout=280) == 0, sweeps.log.read_text()[-3000:]
    summary = sweeps.summary()
    assert summary["server_starts"] == 2
    assert [point["status"] for point in summary["points"]] == ["ok"] * 6
    results = sorted(sweeps.results().values(), key=lambda result: float(result["epoch_time"]))
    order = [(result["config"]["engine"]["args"]["max_num_seqs"], result["config"]["qps"]) for result in results]
    assert order == [(seqs, qps) for seqs in (64, 128) for qps in (1.0, 5.0, 10.0)]
    assert [result["metadata"]["server_started"] for result in results] == [True, False, False] * 2
    assert all(result["metadata"]["completed"] == 3 for result in results)
