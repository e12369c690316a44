"""llama.cpp as a second oracle: the client's latencies beside the times that llama.cpp measured of the same requests.

    python -m benchmarks.llamacpp_oracle [REQUESTS]

One request at a time. llama.cpp's last event has ``timings``: ``prompt_ms`` (the prompt's processing, up to the first
token) and ``predicted_ms`` (from the first token to the last). The client's TTFT adds HTTP, tokenization and waking up.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchhydra import models
from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import ApiEvent, RequestOptions
from benchhydra.client.apis.completions import Completions
from benchhydra.client.request_encoding import encode_request
from benchhydra.datasets import Prompt
from benchhydra.engines.llamacpp import LlamaCpp
from benchhydra.loadgen import LoadPlan, run_load
from benchhydra.progress import Progress
from benchhydra.servers.pool import ServerPool
from benchhydra.target import Gpus, Model, Sparsity
from benchhydra.window import Window

REQUESTS = 200
OUTPUT_TOKENS = 8
PROMPT_WORDS = 4
#: ``timings`` by the answer's id. The client reads some events more than once, to learn their form.
TIMINGS: dict[str, dict[str, float]] = {}


class TimedCompletions(Completions):
    """Completions that keep llama.cpp's ``timings`` of each answer, in the order of the answers."""

    def read(self, document: dict[str, Any]) -> ApiEvent:
        if "timings" in document:
            TIMINGS[document["id"]] = document["timings"]
        return super().read(document)


class Agreement(NamedTuple):
    """Means over all requests in ms: the client's, and llama.cpp's."""

    requests: int
    ttft_ms: float
    prompt_ms: float
    decode_ms: float
    predicted_ms: float
    e2el_ms: float
    timed_ms: float

    def lines(self) -> list[str]:
        pairs = {
            "TTFT": (self.ttft_ms, self.prompt_ms),
            "first to last token": (self.decode_ms, self.predicted_ms),
            "E2E latency": (self.e2el_ms, self.timed_ms),
        }
        head = f"{self.requests} requests, means in ms     client  llama.cpp  difference"
        return [head] + [
            f"{name:30} {ours:9.2f}  {theirs:9.2f}  {ours - theirs:+.2f} ({(ours / theirs - 1) * 100:+.2f} %)"
            for name, (ours, theirs) in pairs.items()
        ]


def agreement(directory: Path, requests: int = REQUESTS) -> Agreement:
    """Serve the small model with one thread, send requests one at a time, and return both means."""
    engine = LlamaCpp(slots=1, args={"threads": 1, "cache_ram": 0})
    model = Model(id="smollm2", build="smollm2", max_model_len=512)
    target = engine.target(model, Sparsity(), Gpus(device="cpu", count=0))
    models.ensure(target, engine.interpreter(), Progress())
    pool = ServerPool(directory)
    TIMINGS.clear()
    try:
        spec = engine.server(target)
        with pool.lease(spec, Progress(), ready_timeout_s=60.0, stop_timeout_s=10.0, headers={}) as lease:
            return _measure(lease.base_url, requests)
    finally:
        pool.close()


def _measure(base_url: str, count: int) -> Agreement:
    endpoint = Endpoint(base_url=base_url, api=TimedCompletions(), model="smollm2", keep_alive=False)
    options = RequestOptions(stream=True, ignore_eos=True, temperature=0.0)
    rng, store = np.random.default_rng(0), Requests()
    for _ in range(count):
        text = " ".join(str(rng.integers(10, 99)) for _ in range(PROMPT_WORDS))
        store.add(encode_request(endpoint, Prompt(text, 0, OUTPUT_TOKENS), OUTPUT_TOKENS, options), 0, OUTPUT_TOKENS)
    plan = LoadPlan(
        endpoint=endpoint, requests=store, send_times_s=np.zeros(count), max_in_flight=1, options=options, processes="1"
    )
    records = run_load(plan, Progress()).records
    assert records.completed.all() and len(TIMINGS) == count
    window = Window.of(records)
    prompt_ms, predicted_ms = (
        np.array([timing[key] for timing in TIMINGS.values()]) for key in ("prompt_ms", "predicted_ms")
    )
    return Agreement(
        requests=count,
        ttft_ms=float(window.ttft_ms.mean()),
        prompt_ms=float(prompt_ms.mean()),
        decode_ms=float((window.tpot_ms * (records.output_tokens - 1)).mean()),
        predicted_ms=float(predicted_ms.mean()),
        e2el_ms=float(window.e2el_ms.mean()),
        timed_ms=float((prompt_ms + predicted_ms).mean()),
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        sys.stdout.write("\n".join(agreement(Path(directory), *map(int, sys.argv[1:2])).lines()) + "\n")
