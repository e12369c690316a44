"""Import of inference-perf's ``stage_N_lifecycle_metrics.json`` and ``summary_lifecycle_metrics.json``: one run a file.

Its times are in seconds. Its TPOT is (last - first) / (n - 1) per request with re-tokenized lengths, and its ITL pools
the gaps between tokens, as here. A file names no model and no date. A summary mixes the requests of all stages, and so
of several rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchhydra.formats import ImportedRun, Json, importer, unread_keys_warning

LATENCIES = {
    "time_to_first_token": "ttft",
    "time_per_output_token": "tpot",
    "inter_token_latency": "itl",
    "request_latency": "e2el",
}
STATISTICS = {
    "mean": "mean",
    "median": "median",
    "p50": "median",
    "p90": "p90",
    "p95": "p95",
    "p99": "p99",
    "max": "max",
}
RATES = {
    "requests_per_sec": "request_throughput",
    "input_tokens_per_sec": "input_throughput",
    "output_tokens_per_sec": "output_throughput",
    "total_tokens_per_sec": "total_token_throughput",
}
#: Keys of "successes" that are read, or say nothing that is needed.
HANDLED_KEYS = {
    *(
        "count",
        "latency",
        "throughput",
        "prompt_len",
        "output_len",
        "prompt_tokens",
        "output_tokens",
        "goodput_metrics",
    ),
    *("request_size_bytes", "image", "video", "audio", "token_count_mismatches", "client_fallback_requests"),
}
HANDLED_LATENCIES = {*LATENCIES, "normalized_time_per_output_token"}
HANDLED_RATES = {*RATES, "images_per_sec", "videos_per_sec", "audios_per_sec"}
MIXED = "a summary of all stages: requests of several rates are mixed; convert the files of the stages"


def _recognizes(data: Json) -> bool:
    return {"load_summary", "successes", "failures"} <= data.keys()


@importer("inference-perf", _recognizes)
def runs(data: Json) -> Sequence[ImportedRun]:
    """The one run of a file."""
    load, successes, failed = data["load_summary"], data["successes"], data["failures"]["count"]
    is_stage = "requested_rate" in load or "concurrency" in load
    return [
        ImportedRun(
            tool="inference-perf",
            epoch_time=None,
            intent=_intent(load),
            completed=successes["count"],
            failed=failed,
            total_output=_total(successes, "output_tokens", "output_len"),
            metrics=_metrics(data),
            metadata=_metadata(data),
            warnings=(
                *(() if is_stage else (MIXED,)),
                *unread_keys_warning(successes, HANDLED_KEYS),
                *unread_keys_warning(successes.get("latency") or {}, HANDLED_LATENCIES, "latencies"),
                *unread_keys_warning(successes.get("throughput") or {}, HANDLED_RATES, "throughputs"),
                *((f"{data['retries']['attempts']} retries count into the latencies",) if data.get("retries") else ()),
            ),
        )
    ]


def _metrics(data: Json) -> dict[str, float]:
    successes = data["successes"]
    rates = successes.get("throughput") or {}
    metrics = {ours: rates[theirs] for theirs, ours in RATES.items() if rates.get(theirs) is not None}
    for theirs, ours in LATENCIES.items():
        spread = (successes.get("latency") or {}).get(theirs) or {}
        for name, statistic in STATISTICS.items():
            if spread.get(name) is not None:
                metrics[f"{statistic}_{ours}_ms"] = spread[name] * 1e3
    goodput = (successes.get("goodput_metrics") or {}).get("request_goodput")
    duration_s = _duration_s(data)
    metrics |= {} if goodput is None else {"request_goodput": goodput}
    return metrics if duration_s is None else {**metrics, "duration_s": duration_s}


def _metadata(data: Json) -> dict[str, Any]:
    values = {
        "num_prompts": data["load_summary"].get("count"),
        "total_input": _total(data["successes"], "prompt_tokens", "prompt_len"),
        "duration": _duration_s(data),
    }
    return {key: value for key, value in values.items() if value is not None}


def _duration_s(data: Json) -> float | None:
    """The time from the first send to the last end; older files have only the rate of requests over it."""
    if data.get("benchmark_time_seconds"):
        return float(data["benchmark_time_seconds"])
    rate = (data["successes"].get("throughput") or {}).get("requests_per_sec")
    return data["successes"]["count"] / rate if rate else None


def _total(successes: Json, name: str, older: str) -> int | None:
    """The sum of token counts; older files have only their mean."""
    total = (successes.get(name) or {}).get("total")
    mean = (successes.get(older) or {}).get("mean")
    if total is not None:
        return round(float(total))
    return None if mean is None else round(float(mean) * int(successes["count"]))


def _intent(load: Json) -> dict[str, Any]:
    return {"qps": load.get("requested_rate"), "load": {"max_in_flight": load.get("concurrency")}}
