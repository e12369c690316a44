"""Import of aiperf's ``profile_export_aiperf.json``: one run a file, each metric with its unit.

Its ``inter_token_latency`` is a mean per request, which is our TPOT; its ``inter_chunk_latency`` pools the gaps between
chunks, which is our ITL. If all requests fail, aiperf writes no such file.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from benchhydra.errors import ResultError
from benchhydra.formats import ImportedRun, Json, importer, unread_keys_warning

LATENCIES = {
    "ttft": "time_to_first_token",
    "tpot": "inter_token_latency",
    "itl": "inter_chunk_latency",
    "e2el": "request_latency",
}
RATES = {
    "request_throughput": "request_throughput",
    "input_throughput": "input_token_throughput",
    "output_throughput": "output_token_throughput",
    "total_token_throughput": "total_token_throughput",
}
STATISTICS = {"avg": "mean", "p50": "median", "std": "std", "p90": "p90", "p95": "p95", "p99": "p99", "max": "max"}
#: Keys that are read, or say nothing that is needed.
HANDLED_KEYS = {
    *("schema_version", "aiperf_version", "benchmark_id", "input_config", "run_info", "telemetry_data", "start_time"),
    *("error_summary", "was_cancelled", "is_complete", "incomplete_reason", "end_time", "warmup_metrics"),
    *("request_count", "error_request_count", "benchmark_duration", "total_output_tokens", "total_isl"),
    *LATENCIES.values(),
    *RATES.values(),
}
#: Its metrics that have no counterpart here, or follow from others.
NO_COUNTERPART = {
    *("completed_request_count", "context_overflow_count", "credit_to_start_latency", "decode_duration"),
    *("e2e_output_token_throughput", "input_sequence_length", "osl_mismatch_count", "osl_mismatch_diff_pct"),
    *("output_sequence_length", "output_token_count", "output_token_throughput_per_user", "request_error_rate"),
    *("prefill_throughput_per_user", "time_to_first_output_token", "time_to_second_token", "tokens_in_flight"),
    *("total_osl", "total_usage_completion_tokens", "total_usage_prompt_tokens", "total_usage_total_tokens"),
    *("usage_completion_tokens", "usage_prompt_tokens", "usage_total_tokens"),
}
TO_MS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "sec": 1e3, "s": 1e3}


def _recognizes(data: Json) -> bool:
    return "aiperf_version" in data


@importer("aiperf", _recognizes)
def runs(data: Json) -> Sequence[ImportedRun]:
    """The one run of an export. Those of aiperf 0.8 may lack its configuration and its dates."""
    settings = data.get("input_config") or {}
    completed, failed = _number(data, "request_count") or 0.0, _number(data, "error_request_count") or 0.0
    duration_s = _milliseconds(data["benchmark_duration"], "avg") / 1e3
    cancelled = "it was cancelled" if data.get("was_cancelled") else ""
    return [
        ImportedRun(
            tool="aiperf",
            tool_version=data["aiperf_version"],
            epoch_time=_time_s(data),
            model=_model(settings),
            tokenizer=(settings.get("tokenizer") or {}).get("name") or "",
            dataset=_dataset(settings),
            repeat=int((data.get("run_info") or {}).get("trial") or 0),
            intent=_intent(settings),
            completed=int(completed),
            failed=int(failed),
            total_output=_count(data, "total_output_tokens"),
            interrupted=cancelled
            if data.get("is_complete", True)
            else f"not complete: {data.get('incomplete_reason')}",
            metrics={**_rates(data), **_latencies(data), "duration_s": duration_s},
            metadata=_metadata(data, int(completed + failed), duration_s),
            warnings=_warnings(data),
        )
    ]


def _warnings(data: Json) -> tuple[str, ...]:
    unread_keys = unread_keys_warning(data, HANDLED_KEYS | NO_COUNTERPART)
    if data.get("input_config"):
        return unread_keys
    return (
        "the file has no input_config: model, dataset and load are unknown, and runs cannot be told apart",
        *unread_keys,
    )


def _time_s(data: Json) -> float | None:
    return datetime.datetime.fromisoformat(data["start_time"]).timestamp() if data.get("start_time") else None


def _model(settings: Json) -> str:
    """The model's name; up to aiperf 0.8 it is an option of the endpoint."""
    if "models" in settings:
        return str(settings["models"]["items"][0]["name"])
    return str(next(iter((settings.get("endpoint") or {}).get("model_names") or ()), ""))


def _metadata(data: Json, num_prompts: int, duration_s: float) -> dict[str, Any]:
    total_input = _count(data, "total_isl")
    metadata: dict[str, Any] = {"num_prompts": num_prompts, "duration": duration_s}
    return metadata if total_input is None else {**metadata, "total_input": total_input}


def _dataset(settings: Json) -> str:
    return ",".join(str(part.get("type", "")) for part in settings.get("datasets", ()))


def _intent(settings: Json) -> dict[str, Any]:
    if "phases" not in settings:
        return _older_intent(settings)
    phase = next((part for part in settings["phases"] if part.get("kind") == "profiling"), settings["phases"][-1])
    intent: dict[str, Any] = {"load": {"kind": phase.get("type"), "max_in_flight": phase.get("concurrency")}}
    prompts = [part.get("prompts") for part in settings.get("datasets", ())]
    return {**intent, "qps": phase.get("rate"), "num_prompts": phase.get("requests"), "prompts": prompts}


def _older_intent(settings: Json) -> dict[str, Any]:
    """What identifies a point in the configuration of aiperf up to 0.8."""
    load = settings.get("loadgen") or {}
    intent: dict[str, Any] = {"load": {"kind": load.get("request_rate_mode"), "max_in_flight": load.get("concurrency")}}
    intent |= {"qps": load.get("request_rate"), "num_prompts": load.get("request_count")}
    return {**intent, "prompts": settings.get("input")} if settings else {}


def _rates(data: Json) -> dict[str, float]:
    rates = {ours: (theirs, _number(data, theirs)) for ours, theirs in RATES.items()}
    for theirs, value in rates.values():
        if value is not None and not str(data[theirs]["unit"]).endswith("/sec"):
            raise ResultError(
                f"unknown unit of aiperf's {theirs}: {data[theirs]['unit']!r}", hint="known units end in /sec"
            )
    return {ours: value for ours, (_, value) in rates.items() if value is not None}


def _latencies(data: Json) -> dict[str, float]:
    metrics = {}
    for latency, theirs in LATENCIES.items():
        spread = data.get(theirs)
        if not isinstance(spread, Mapping) or not spread.get("avg"):
            continue
        for name, ours in STATISTICS.items():
            if name in spread:
                metrics[f"{ours}_{latency}_ms"] = _milliseconds(spread, name)
    return metrics


def _milliseconds(spread: Json, name: str) -> float:
    if spread["unit"] not in TO_MS:
        raise ResultError(f"unknown unit of a time: {spread['unit']!r}", hint=f"known units: {', '.join(TO_MS)}")
    return float(spread[name]) * TO_MS[spread["unit"]]


def _number(data: Json, name: str) -> float | None:
    spread = data.get(name)
    return float(spread["avg"]) if isinstance(spread, Mapping) and spread.get("avg") is not None else None


def _count(data: Json, name: str) -> int | None:
    value = _number(data, name)
    return None if value is None else round(value)
