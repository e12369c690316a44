"""``script=latency`` agrees with ``vllm bench latency``: the same model, batch and lengths, on engines of their own.

Runs alternate, so that a machine that becomes slower meets both. The bound is three times the scatter between runs, and
at least a fifth: two engines in two processes differ more than two clients of one server do.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.vllm.test_oracle import UpstreamBench, run

from benchhydra import models
from benchhydra.result import Result

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

ROUNDS = 2
BATCH_SIZE, PROMPT_TOKENS, OUTPUT_TOKENS = 4, 64, 24
ITERATIONS, WARMUP_ITERATIONS = 20, 3


@pytest.fixture(scope="module")
def wide_tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a vocabulary that holds the token ids up to 10,000 that upstream draws its prompts from."""
    path = tmp_path_factory.mktemp("wide-tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.TINY, "vocab_size", 10_240)
        models.write_tiny(path)
    return path


def upstream(bench: UpstreamBench, model: Path, out: Path) -> dict[str, float]:
    command = ["latency", "--model", str(model)]
    command += ["--input-len", str(PROMPT_TOKENS), "--output-len", str(OUTPUT_TOKENS)]
    command += ["--batch-size", str(BATCH_SIZE), "--num-iters", str(ITERATIONS)]
    command += ["--num-iters-warmup", str(WARMUP_ITERATIONS), "--output-json", str(out)]
    command += ["--enforce-eager", "--max-model-len", "512"]
    bench.run(command)
    latencies_ms = np.array(json.loads(out.read_text())["latencies"]) * 1e3
    assert len(latencies_ms) == ITERATIONS
    return {"mean": float(latencies_ms.mean()), "median": float(np.median(latencies_ms))}


def ours(model: Path, out: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchhydra", "script=latency", "engine=vllm", "gpus=cpu", "tracking=none"]
    command += ["model=custom", f"model.id={model}", "model.max_model_len=512", "engine.enforce_eager=true"]
    command += ["engine.args.enable_prefix_caching=false", "script.temperature=1.0", "script.fail_on=never"]
    command += [f"dataset.prompt_tokens={PROMPT_TOKENS}", f"dataset.output_tokens={OUTPUT_TOKENS}"]
    command += [f"script.batch_size={BATCH_SIZE}", f"script.iterations={ITERATIONS}"]
    command += [f"script.warmup_iterations={WARMUP_ITERATIONS}", f"hydra.run.dir={out}"]
    run(command, out.parent)
    result = Result.read(out)
    assert result.metrics["completed"].value == BATCH_SIZE * ITERATIONS
    assert result.metrics["mean_output_tokens"].value == OUTPUT_TOKENS
    prefill, decode = (result.metrics[f"mean_batch_{part}_ms"].value for part in ("prefill", "decode"))
    assert prefill > 0 and decode > prefill
    latencies_ms = {name: result.metrics[f"{name}_batch_latency_ms"].value for name in ("mean", "median")}
    assert prefill + decode == pytest.approx(latencies_ms["mean"])
    return latencies_ms


def test_agrees_with_vllm_bench_latency(wide_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")  # for upstream: the default takes half of the memory
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # both engines in one process each, which starts faster
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as vLLM sets it where the engine has a process of its own
    theirs: list[dict[str, float]] = []
    mine: list[dict[str, float]] = []
    with UpstreamBench(tmp_path, before=()) as bench:
        for k in range(ROUNDS):
            theirs.append(upstream(bench, wide_tiny, tmp_path / f"upstream-{k}.json"))
            mine.append(ours(wide_tiny, tmp_path / f"ours-{k}"))
    for name in ("mean", "median"):
        a, b = [r[name] for r in theirs], [r[name] for r in mine]
        noise = max(statistics.stdev(a), statistics.stdev(b))
        bound = max(3 * noise, 0.20 * statistics.median(a))
        assert abs(statistics.median(a) - statistics.median(b)) <= bound, (name, a, b)
