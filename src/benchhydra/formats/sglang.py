"""Import of SGLang's ``bench_serving`` (``--output-file``): one JSON object a line, each a run.

Its TPOT is (latency - TTFT) / (output tokens - 1) per request and its ITL pools the gaps between chunks, as here. The
file names no model (but ``server_info`` may), no date and no failed requests, unless it has the details of requests.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from benchhydra.formats import ImportedRun, Json, importer, unread_keys_warning

STATISTIC = re.compile(r"(mean|median|std|p\d+|max)_(ttft|tpot|itl|e2e_latency)_ms")
LATENCIES = {"ttft": "ttft", "tpot": "tpot", "itl": "itl", "e2e_latency": "e2el"}
RATES = {
    "request_throughput": "request_throughput",
    "input_throughput": "input_throughput",
    "output_throughput": "output_throughput",
    "total_throughput": "total_token_throughput",
}
#: The arguments that identify a point.
ARGUMENTS = (
    "backend",
    "dataset_name",
    "sharegpt_output_len",
    "random_input_len",
    "random_output_len",
    "random_range_ratio",
)
#: Keys that are read, or say nothing that is needed: raw lists, and derived values.
HANDLED_KEYS = {
    *("tag", "request_rate", "max_concurrency", "server_info", "duration", "completed", "total_input_tokens"),
    *("total_input_text_tokens", "total_input_vision_tokens", "total_output_tokens", "concurrency", "accept_length"),
    *("total_output_tokens_retokenized", "max_output_tokens_per_s", "max_concurrent_requests"),
    *("input_lens", "output_lens", "ttfts", "itls", "generated_texts", "errors"),
    *ARGUMENTS,
    *RATES,
}
NO_FAILURES = "the file does not say how many requests failed"


def _recognizes(data: Json) -> bool:
    return {"backend", "total_output_tokens_retokenized", "completed", "duration"} <= data.keys()


@importer("sglang bench_serving", _recognizes)
def runs(data: Json) -> Sequence[ImportedRun]:
    """The one run of a line."""
    failed = sum(bool(error) for error in data["errors"]) if data.get("errors") is not None else None
    num_prompts = None if failed is None else data["completed"] + failed
    server = data.get("server_info") or {}
    statistics = {key for key in data if STATISTIC.fullmatch(key)}
    return [
        ImportedRun(
            tool="sglang bench_serving",
            epoch_time=None,
            model=str(server.get("served_model_name") or server.get("model_path") or ""),
            dataset=str(data.get("dataset_name") or ""),
            description=str(data.get("tag") or ""),
            tensor_parallel_size=int(server.get("tp_size") or 1),
            intent=_intent(data),
            completed=data["completed"],
            failed=failed,
            total_output=data.get("total_output_tokens"),
            metrics=_metrics(data),
            metadata=_metadata(data, num_prompts),
            warnings=(
                *((NO_FAILURES,) if failed is None else ()),
                *unread_keys_warning(data, HANDLED_KEYS | statistics),
            ),
        )
    ]


def _metrics(data: Json) -> dict[str, float]:
    metrics = {ours: data[theirs] for theirs, ours in RATES.items() if data.get(theirs) is not None}
    for key, value in data.items():
        match = STATISTIC.fullmatch(key)
        if (
            match and value is not None and data.get(f"mean_{match[2]}_ms", 1.0)
        ):  # it writes 0 where nothing was measured
            metrics[f"{match[1]}_{LATENCIES[match[2]]}_ms"] = value
    return {**metrics, "duration_s": data["duration"]} if data["duration"] > 0 else metrics


def _metadata(data: Json, num_prompts: int | None) -> dict[str, Any]:
    values = {
        "num_prompts": num_prompts,
        "total_input": data.get("total_input_tokens"),
        "duration": data["duration"] if data["duration"] > 0 else None,
    }
    return {key: value for key, value in values.items() if value is not None}


def _intent(data: Json) -> dict[str, Any]:
    """What identifies the point. The rate is a number, infinity, or "trace" if recorded times were replayed."""
    rate = data.get("request_rate")
    load = {"kind": "trace" if rate == "trace" else None, "max_in_flight": data.get("max_concurrency")}
    limited = isinstance(rate, int | float) and math.isfinite(rate)
    arguments = {key: data[key] for key in ARGUMENTS if data.get(key) is not None}
    return {"qps": rate if limited else None, "load": load, "script_args": arguments}
