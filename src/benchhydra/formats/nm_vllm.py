"""Import of nm-vllm's ``BenchmarkResult`` (schema 0.0.0), so that histories of stored results continue.

Its TPOT divides by the number of re-tokenised output tokens including BOS, so it is about 1/N too low; it is imported
with a warning. Its offline token throughput counts requested tokens, not generated ones. If every request failed, it
wrote a bare NaN.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from benchhydra.formats import ImportedRun, Json, importer, unread_keys_warning

NAMES = {
    "request_throughput": "request_throughput",
    "input_throughput": "input_throughput",
    "output_throughput": "output_throughput",
    "token_throughput": "total_token_throughput",
}
LATENCY = re.compile(r"(mean|median|p90|p99)_(request_latency|ttft_ms|tpot_ms)")
LATENCIES = {"request_latency": "e2el_ms", "ttft_ms": "ttft_ms", "tpot_ms": "tpot_ms"}
TPOT_NOTE = "TPOT is about 1/N too low for N output tokens: nm-vllm divides by re-tokenised tokens that include BOS"
#: The arguments of its scripts that identify a point.
ARGUMENTS = (
    "nr_qps_pair_", "num_prompts_", "request_rate_", "num_prompts", "input_len", "output_len", "num_input_tokens",
    "num_output_tokens", "sparsity", "quantization", "dtype", "max_model_len", "enforce_eager", "best_of", "n",
)  # fmt: skip


def _recognizes(data: Json) -> bool:
    return {
        "json_schema_version",
        "benchmarking_context",
        "script_name",
        "metrics",
    } <= data.keys() and "verdict" not in data


@importer("nm-vllm", _recognizes)
def runs(data: Json) -> Sequence[ImportedRun]:
    """The one run of a result file."""
    metadata, context = data.get("metadata") or {}, data["benchmarking_context"]
    completed = metadata.get("completed")
    metrics = _metrics(data["metrics"])
    return [
        ImportedRun(
            tool="nm-vllm",
            script="throughput" if "throughput" in data["script_name"] else "serving",
            engine_version=data.get("vllm_version"),
            epoch_time=data["epoch_time"],
            model=data["model"],
            tokenizer=data.get("tokenizer") or "",
            dataset=data.get("dataset") or "synthetic",
            tensor_parallel_size=data.get("tensor_parallel_size") or 1,
            description=data.get("description") or "",
            intent=_intent(data),
            completed=completed,
            failed=metadata["num_prompts"] - completed if completed is not None and "num_prompts" in metadata else 0,
            total_output=metadata.get("total_output"),
            metrics=metrics,
            metadata=_metadata(metadata),
            environment=_environment(data, context),
            warnings=(
                *((TPOT_NOTE,) if any(key.endswith("tpot_ms") for key in metrics) else ()),
                *unread_keys_warning(data["metrics"], {key for key in data["metrics"] if _name(key)}, "metrics"),
            ),
        )
    ]


def _metrics(stored: Json) -> dict[str, float]:
    metrics = {}
    for key, metric in stored.items():
        name = _name(key)
        if name is not None and metric["value"] is not None:
            metrics[name] = float(metric["value"])
    return metrics


def _name(key: str) -> str | None:
    """Our name of a metric; None if it has no counterpart."""
    match = LATENCY.fullmatch(key)
    return f"{match[1]}_{LATENCIES[match[2]]}" if match else NAMES.get(key)


def _metadata(metadata: Json) -> dict[str, Any]:
    copied = {
        key: metadata[key] for key in ("num_prompts", "total_input", "request_rate") if metadata.get(key) is not None
    }
    return {**copied, "duration": metadata["duration"]} if metadata.get("duration", 0) > 0 else copied


def _intent(data: Json) -> dict[str, Any]:
    arguments = data.get("script_args") or {}
    identifying = {key: arguments[key] for key in ARGUMENTS if arguments.get(key) is not None}
    return {"script_args": identifying, "gpus": {"count": data.get("tensor_parallel_size") or 1}}


def _environment(data: Json, context: Json) -> dict[str, Any]:
    packages = {"python": context.get("python_version"), "torch": context.get("torch_version")}
    names = context.get("cuda_device_names") or []
    environment: dict[str, Any] = {"packages": {key: value for key, value in packages.items() if value}}
    if names:
        environment["gpus"] = [{"name": name} for name in names]
    if context.get("torch_cuda_version"):
        environment["cuda"] = context["torch_cuda_version"]
    return environment
