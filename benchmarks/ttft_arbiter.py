"""Let benchhydra and `vllm bench serve` take turns on one running vLLM, with the server's histograms as the arbiter.

    python benchmarks/ttft_arbiter.py --base-url http://127.0.0.1:8000 --model DIR --rate 16 --out DIR \
        --order benchhydra,bench,benchhydra,bench-new-seed

Prints for each run the client's mean TTFT, TPOT and E2E latency beside those that the server counted meanwhile, and the
fraction of prompt tokens that the server found in its prefix cache. Neither tool warms the server up.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

HISTOGRAMS = {
    "ttft": "time_to_first_token_seconds",
    "itl": "inter_token_latency_seconds",
    "e2el": "e2e_request_latency_seconds",
    "queue": "request_queue_time_seconds",
    "prefill": "request_prefill_time_seconds",
}
FIGURES = ("mean_ttft_ms", "median_ttft_ms", "mean_tpot_ms", "mean_e2el_ms")
Figures = dict[str, float | None]


def counters(base_url: str) -> dict[str, float]:
    """Return the sums and counts of the histograms, and the counters of the prefix cache."""
    with urllib.request.urlopen(f"{base_url}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    names = [f"{name}_{part}" for name in HISTOGRAMS.values() for part in ("sum", "count")]
    names += ["prefix_cache_queries_total", "prefix_cache_hits_total"]
    return {name: sum(map(float, re.findall(rf"^vllm:{name}(?:{{[^}}]*}})? (\S+)", text, re.M))) for name in names}


def servers_figures(before: dict[str, float], after: dict[str, float]) -> Figures:
    """Return what the server measured between two readings: means in ms, and the fraction of prefix hits."""
    grown = {name: after[name] - before[name] for name in after}
    figures: Figures = {
        name: 1e3 * grown[f"{series}_sum"] / grown[f"{series}_count"] if grown[f"{series}_count"] else None
        for name, series in HISTOGRAMS.items()
    }
    queries = grown["prefix_cache_queries_total"]
    return figures | {"prefix_hits": grown["prefix_cache_hits_total"] / queries if queries else None}


def bench(arguments: argparse.Namespace, tag: str, seed: int, temperature: str | None) -> Figures:
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "bench", "serve", "--backend", "openai"]
    command += ["--base-url", arguments.base_url, "--model", arguments.model, "--dataset-name", "random"]
    command += ["--random-input-len", str(arguments.prompt_tokens), "--random-output-len", str(arguments.output_tokens)]
    command += ["--num-prompts", str(arguments.count), "--request-rate", str(arguments.rate), "--seed", str(seed)]
    command += ["--ignore-eos", "--percentile-metrics", "ttft,tpot,itl,e2el", "--disable-tqdm"]
    command += ["--save-result", "--result-dir", str(arguments.out), "--result-filename", f"{tag}.json"]
    command += ["--temperature", temperature] if temperature else []
    subprocess.run(command, check=True, capture_output=True)
    result = json.loads((arguments.out / f"{tag}.json").read_text())
    return {name: result[name] for name in FIGURES}


def benchhydra(arguments: argparse.Namespace, tag: str, seed: int, *more: str) -> Figures:
    command = [sys.executable, "-m", "benchhydra", "engine=attach", f"engine.base_url={arguments.base_url}"]
    command += ["model=custom", f"model.id={arguments.model}", f"dataset.prompt_tokens={arguments.prompt_tokens}"]
    command += [f"dataset.output_tokens={arguments.output_tokens}", f"qps={arguments.rate}", f"seed={seed}"]
    command += [f"num_prompts={arguments.count}", "script.warmup_requests=0", "script.fail_on=never", "tracking=none"]
    subprocess.run([*command, f"hydra.run.dir={arguments.out / tag}", *more], check=True, capture_output=True)
    metrics = json.loads((arguments.out / tag / "result.json").read_text())["metrics"]
    return {name: metrics[name]["value"] for name in FIGURES}


def measure(arguments: argparse.Namespace, tool: str, tag: str, seed: int) -> Figures:
    if tool == "benchhydra":
        return benchhydra(arguments, tag, seed)
    if tool == "benchhydra-default-sampling":
        return benchhydra(arguments, tag, seed, "script.body.temperature=null")
    if tool == "bench":
        return bench(arguments, tag, 0, None)
    if tool == "bench-new-seed":
        return bench(arguments, tag, seed, None)
    if tool == "bench-greedy":
        return bench(arguments, tag, seed, "0")
    raise SystemExit(f"no such tool: {tool}")


def text(figures: dict[str, Any]) -> str:
    return "  ".join(f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in figures.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", default="http://127.0.0.1:8000")
    parser.add_argument("--model", required=True, help="directory or hub id of the served model")
    parser.add_argument("--rate", type=float, default=16.0)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--output-tokens", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1000, help="of the first run that has a seed of its own")
    parser.add_argument("--order", default="benchhydra,bench,benchhydra,bench")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out = arguments.out.absolute()
    arguments.out.mkdir(parents=True, exist_ok=True)
    arguments.count = max(10, int(arguments.rate * arguments.seconds))
    for i, tool in enumerate(arguments.order.split(",")):
        before = counters(arguments.base_url)
        clients = measure(arguments, tool, f"{i}-{tool}", arguments.seed + i)
        print(f"{tool}\n  client: {text(clients)}")
        print(f"  server: {text(servers_figures(before, counters(arguments.base_url)))}", flush=True)


if __name__ == "__main__":
    main()
