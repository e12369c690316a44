"""Drive a server with benchhydra's driver alone (no Hydra, no tokenizer), and print JSON as the C client does.

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
from benchhydra.client.request_encoding import encode_request
from benchhydra.loadgen import LoadPlan, LoadResult, run_load
from benchhydra.progress import Progress


def three(values_ms: Any) -> dict[str, float]:
    if not len(values_ms):
        return {}
    p50, p99 = np.percentile(values_ms, [50, 99])
    return {"mean": float(values_ms.mean()), "p50": float(p50), "p99": float(p99)}


def plan_of(options: argparse.Namespace) -> LoadPlan:
    endpoint = Endpoint(
        base_url=options.base_url or f"http://127.0.0.1:{options.port}",
        api=options.api,
        model="mock",
        stream=not options.no_stream,
        verify_tls=False,
    )
    requests = Requests()
    for _ in range(options.n):
        request = encode_request(endpoint, "the " * options.words, None, options.tokens, {"ignore_eos": True})
        requests.add(request, options.words, options.tokens)
    offsets = np.zeros(options.n)
    if options.rate:
        offsets = np.cumsum(np.random.default_rng(options.seed).exponential(1 / options.rate, options.n))
    return LoadPlan(
        endpoint=endpoint,
        requests=requests,
        offsets_s=offsets,
        max_in_flight=None if options.rate else options.concurrency,
        processes=options.processes,
    )


def summary(driven: LoadResult) -> dict[str, Any]:
    rows = driven.records.where(driven.records.completed)
    first = (rows.first_ns - rows.sent_ns)[rows.first_ns >= 0] / 1e6
    chunks = np.diff(rows.gap_offsets)
    tpot = ((rows.last_ns - rows.first_ns) / np.maximum(chunks, 1))[chunks > 0] / 1e6
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "completed": len(rows),
        "failed": driven.records.failures(),
        "tokens": int(rows.output_tokens.sum()),
        "duration_s": float(rows.done_ns.max() - rows.sent_ns.min()) / 1e9 if len(rows) else 0.0,
        "ttft": three(first),
        "tpot": three(tpot),
        "lag": three((rows.sent_ns - rows.scheduled_ns) / 1e6),
        "itl": three(rows.gaps_ns / np.float32(1e6)),
        "cpu_share": driven.client_cpu_share,
        "stall_p99_ms": driven.loop_stall_p99_ms,
        "stall_max_ms": driven.loop_stall_max_ms,
        "processes": driven.processes,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "user_cpu_s": usage.ru_utime,
        "errors": driven.records.errors[:5],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--base-url")
    parser.add_argument("--api", default="completions")
    parser.add_argument("--no-stream", action="store_true")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--words", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", default="1")
    parser.add_argument("--out")
    options = parser.parse_args()
    text = json.dumps(summary(run_load(plan_of(options), Progress())))
    if options.out:
        Path(options.out).write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
