"""Import of genai-bench's files of a run (``aggregated_metrics`` with ``individual_request_metrics``): one run a file.

Its times are in seconds. Its TPOT is (latency - TTFT) / (output tokens - 1) per request, as here; it has no ITL. Its
throughput per request has no counterpart. The model stands in another file of the experiment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchhydra.formats import ImportedRun, Json, importer, unread_keys_warning

LATENCIES = {"ttft": "ttft", "tpot": "tpot", "e2e_latency": "e2el"}
STATISTICS = {
    "mean": "mean",
    "p50": "median",
    "stddev": "std",
    "p90": "p90",
    "p95": "p95",
    "p99": "p99",
    "max": "max",
}
RATES = {
    "mean_input_throughput_tokens_per_s": "input_throughput",
    "mean_output_throughput_tokens_per_s": "output_throughput",
    "mean_total_tokens_throughput_tokens_per_s": "total_token_throughput",
}
#: Keys that are read, or say nothing that is needed.
HANDLED_KEYS = {
    *("scenario", "num_concurrency", "batch_size", "iteration_type", "run_duration", "requests_per_second", "stats"),
    *("requests_per_minute", "mean_total_chars_per_hour", "error_codes_frequency", "error_rate"),
    *("num_error_requests", "num_completed_requests", "num_requests", "total_arrivals", "arrival_requests_per_second"),
    *RATES,
}
#: Statistics of requests that have no counterpart here, or are read as sums.
HANDLED_STATISTICS = {
    *("output_latency", "output_inference_speed", "num_input_tokens", "num_output_tokens", "total_tokens"),
    *("input_throughput", "output_throughput"),
    *LATENCIES,
}
NO_MODEL = "the file names no model: it stands in experiment_metadata.json beside it"


def _recognizes(data: Json) -> bool:
    return isinstance(data.get("aggregated_metrics"), dict) and "stats" in data["aggregated_metrics"]


@importer("genai-bench", _recognizes)
def runs(data: Json) -> Sequence[ImportedRun]:
    """The one run of a file."""
    run = data["aggregated_metrics"]
    return [
        ImportedRun(
            tool="genai-bench",
            epoch_time=None,
            dataset=str(run.get("scenario") or ""),
            intent=_intent(run),
            completed=run["num_completed_requests"],
            failed=run["num_error_requests"],
            total_output=_sum(run, "num_output_tokens"),
            metrics=_metrics(run),
            metadata=_metadata(run),
            warnings=(
                NO_MODEL,
                *unread_keys_warning(run, HANDLED_KEYS),
                *unread_keys_warning(run["stats"], HANDLED_STATISTICS, "statistics"),
            ),
        )
    ]


def _metrics(run: Json) -> dict[str, float]:
    metrics = {ours: run[theirs] for theirs, ours in RATES.items() if run.get(theirs) is not None}
    for theirs, ours in LATENCIES.items():
        spread = run["stats"].get(theirs) or {}
        if not spread.get("mean"):
            continue  # nothing was measured: its zeros are not values
        for name, statistic in STATISTICS.items():
            if spread.get(name) is not None:
                metrics[f"{statistic}_{ours}_ms"] = spread[name] * 1e3
    rate, duration_s = _request_rate(run), _duration_s(run)
    metrics |= {} if rate is None else {"request_throughput": rate}
    return metrics if duration_s is None else {**metrics, "duration_s": duration_s}


def _request_rate(run: Json) -> float | None:
    """Completed requests per second; older files have them per minute."""
    if run.get("requests_per_second") is not None:
        return float(run["requests_per_second"])
    return None if run.get("requests_per_minute") is None else run["requests_per_minute"] / 60


def _duration_s(run: Json) -> float | None:
    """The duration of the run; older files have only the rate of requests over it."""
    if run.get("run_duration"):
        return float(run["run_duration"])
    rate = _request_rate(run)
    return run["num_completed_requests"] / rate if rate else None


def _metadata(run: Json) -> dict[str, Any]:
    values = {
        "num_prompts": run.get("num_requests"),
        "total_input": _sum(run, "num_input_tokens"),
        "duration": _duration_s(run),
    }
    return {key: value for key, value in values.items() if value is not None}


def _sum(run: Json, name: str) -> int | None:
    total = (run["stats"].get(name) or {}).get("sum")
    return None if total is None else round(total)


def _intent(run: Json) -> dict[str, Any]:
    """What identifies the point. With arrivals of a rate, ``num_concurrency`` is that rate."""
    level = run.get("num_concurrency")
    if run.get("total_arrivals") is not None:
        return {"qps": level, "load": {"max_in_flight": None}, "scenario": run.get("scenario")}
    return {
        "load": {"max_in_flight": level},
        "scenario": run.get("scenario"),
        "batch_size": run.get("batch_size"),
    }
