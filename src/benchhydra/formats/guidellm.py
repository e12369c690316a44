"""Import of guidellm's ``benchmarks.json`` (since 0.4; file versions 1 and 2): one run for each of its benchmarks.

Its ``inter_token_latency`` is (last - first) / (n - 1) per request, which is our TPOT. Its ``time_per_output_token``
includes the first token, so it is not mapped. It has no pooled gaps, so ITL is absent. Its percentiles use the nearest
rank. Its request latency is in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchhydra.formats import ImportedRun, Json, importer, unread_keys_warning

#: Our latency -> (guidellm's name, factor to milliseconds).
LATENCIES = {
    "ttft": ("time_to_first_token_ms", 1.0),
    "tpot": ("inter_token_latency_ms", 1.0),
    "e2el": ("request_latency", 1e3),
}
RATES = {
    "request_throughput": "requests_per_second",
    "input_throughput": "prompt_tokens_per_second",
    "output_throughput": "output_tokens_per_second",
    "total_token_throughput": "tokens_per_second",
}
MOMENTS = {"mean": "mean", "median": "median", "std_dev": "std", "max": "max"}
PERCENTILES = ("p90", "p95", "p99")
#: Its metrics that are read, or that have no counterpart here.
HANDLED_KEYS = {
    *("request_totals", "request_concurrency", "request_streaming_iterations_count", "time_per_output_token_ms"),
    *("prompt_token_count", "output_token_count", "total_token_count", "time_to_first_output_token_ms"),
    *("output_tokens_per_iteration", "iter_tokens_per_iteration", "request_dispatch_delay", "tool_call"),
    *("request_scheduled_latency", "turn_predecessor_delay", "slo_attainment", "text", "image", "video", "audio"),
    *(theirs for theirs, _ in LATENCIES.values()),
    *RATES.values(),
}


def _recognizes(data: Json) -> bool:
    return isinstance(data.get("benchmarks"), list) and "guidellm_version" in data.get("metadata", {})


@importer("guidellm", _recognizes)
def runs(data: Json) -> Sequence[ImportedRun]:
    """The runs of a report."""
    return [_run(data, benchmark) for benchmark in data["benchmarks"]]


def _run(data: Json, benchmark: Json) -> ImportedRun:
    metrics, totals = benchmark["metrics"], benchmark["metrics"]["request_totals"]
    spec = data.get("config", {}).get("spec", {})
    backend = spec.get("backend", {})
    incomplete = totals.get("incomplete", 0)
    return ImportedRun(
        tool="guidellm",
        tool_version=data["metadata"]["guidellm_version"],
        epoch_time=benchmark["start_time"],
        model=str(backend.get("model") or ""),
        dataset=_dataset(spec),
        intent={
            **_load(benchmark["config"]["strategy"]),
            "data": spec.get("data"),
            "constraints": spec.get("constraints"),
        },
        completed=totals["successful"],
        failed=totals["errored"],
        total_output=_sum(metrics["output_token_count"]),
        metrics={**_rates(metrics), **_latencies(metrics), "duration_s": benchmark["duration"]},
        metadata=_metadata(benchmark, totals),
        warnings=(
            *((f"{incomplete} requests were still running at the end, and are not counted",) if incomplete else ()),
            *unread_keys_warning(metrics, HANDLED_KEYS, "metrics"),
        ),
    )


def _metadata(benchmark: Json, totals: Json) -> dict[str, Any]:
    metadata = {"num_prompts": totals["total"], "total_input": _sum(benchmark["metrics"]["prompt_token_count"])}
    return {**metadata, "duration": benchmark["duration"]} if benchmark["duration"] > 0 else metadata


def _dataset(spec: Json) -> str:
    kinds = [str(part.get("kind", "")) for part in spec.get("data", ()) if isinstance(part, Mapping)]
    return "synthetic" if kinds == ["synthetic_text"] else ",".join(kinds)


def _load(strategy: Json) -> dict[str, Any]:
    kind = strategy["type_"]
    rate = strategy.get("rate")
    if kind in ("throughput", "synchronous") or rate is None:
        return {"load": {"kind": kind, "max_in_flight": strategy.get("streams", strategy.get("max_concurrency"))}}
    return {"load": {"kind": kind, "max_in_flight": strategy.get("max_concurrency")}, "qps": rate}


def _rates(metrics: Json) -> dict[str, float]:
    return {ours: metrics[theirs]["successful"]["mean"] for ours, theirs in RATES.items() if metrics.get(theirs)}


def _latencies(metrics: Json) -> dict[str, float]:
    latencies: dict[str, float] = {}
    for latency, (theirs, to_ms) in LATENCIES.items():
        spread = (metrics.get(theirs) or {}).get("successful") or {}
        if not spread.get("count") or not spread["mean"]:
            continue  # nothing was measured: its zeros are not values
        latencies |= {f"{ours}_{latency}_ms": spread[name] * to_ms for name, ours in MOMENTS.items()}
        latencies |= {f"{name}_{latency}_ms": spread["percentiles"][name] * to_ms for name in PERCENTILES}
    return latencies


def _sum(spread: Json) -> int:
    return round(float(spread["successful"]["total_sum"]))
