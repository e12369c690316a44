"""Send a load with benchhydra's load generator alone (no Hydra, no tokenizer), and print JSON as the C client does.

python benchmarks/drive.py --port 8900 --n 2000 --concurrency 32 | --rate 200
"""

from __future__ import annotations

import argparse
import json
import resource
from pathlib import Path
from typing import Any

import numpy as np

from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import RequestOptions
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.completions import Completions
from benchhydra.client.request_encoding import encode_request
from benchhydra.datasets import Prompt
from benchhydra.loadgen import LoadPlan, LoadResult, run_load
from benchhydra.progress import Progress

APIS = {"completions": Completions, "chat": Chat}


def distribution(values_ms: Any) -> dict[str, float]:
    if not len(values_ms):
        return {}
    p50, p99 = np.percentile(values_ms, [50, 99])
    return {"mean": float(values_ms.mean()), "p50": float(p50), "p99": float(p99)}


def make_plan(arguments: argparse.Namespace) -> LoadPlan:
    endpoint = Endpoint(
        base_url=arguments.base_url or f"http://127.0.0.1:{arguments.port}",
        api=APIS[arguments.api](),
        model="mock",
        verify_tls=False,
    )
    options = RequestOptions(stream=not arguments.no_stream)
    prompt = Prompt("the " * arguments.words, arguments.words, arguments.tokens)
    requests = Requests(prompt_key=endpoint.api.prompt_key)
    for _ in range(arguments.n):
        requests.add(encode_request(endpoint, prompt, arguments.tokens, options), arguments.words, arguments.tokens)
    send_times_s = np.zeros(arguments.n)
    if arguments.rate:
        send_times_s = np.cumsum(np.random.default_rng(arguments.seed).exponential(1 / arguments.rate, arguments.n))
    return LoadPlan(
        endpoint=endpoint,
        requests=requests,
        send_times_s=send_times_s,
        max_in_flight=None if arguments.rate else arguments.concurrency,
        options=options,
        processes=arguments.processes,
    )


def summary(result: LoadResult) -> dict[str, Any]:
    rows = result.records.where(result.records.completed)
    first = (rows.first_ns - rows.sent_ns)[rows.first_ns >= 0] / 1e6
    chunks = np.diff(rows.gap_offsets)
    tpot = ((rows.last_ns - rows.first_ns) / np.maximum(chunks, 1))[chunks > 0] / 1e6
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "completed": len(rows),
        "failed": result.records.failures(),
        "tokens": int(rows.output_tokens.sum()),
        "duration_s": float(rows.done_ns.max() - rows.sent_ns.min()) / 1e9 if len(rows) else 0.0,
        "ttft": distribution(first),
        "tpot": distribution(tpot),
        "lag": distribution((rows.sent_ns - rows.scheduled_ns) / 1e6),
        "itl": distribution(rows.gaps_ns / np.float32(1e6)),
        **result.facts,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "user_cpu_s": usage.ru_utime,
        "errors": result.records.errors[:5],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--base-url")
    parser.add_argument("--api", default="completions", choices=APIS)
    parser.add_argument("--no-stream", action="store_true")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--words", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", default="1")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    text = json.dumps(summary(run_load(make_plan(arguments), Progress())))
    if arguments.out:
        Path(arguments.out).write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
