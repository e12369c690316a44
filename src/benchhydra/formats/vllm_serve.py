"""Import and export of the JSON object of ``vllm bench serve --save-result`` and ``vllm bench sweep serve``.

Its definitions are ours, with two exceptions. With a chat endpoint it counts the role-only first chunk as a token, so
TTFT may be too low, and ITL has one gap too many: ITL is left out. If nothing was measured it writes 0, which is left
out too. Files of ``benchmark_serving.py``, before vLLM 0.10, have no ``endpoint_type``: their ``backend`` names the
API; some have the key ``request_goodput:``, with a colon.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchhydra.artifacts import write_atomic
from benchhydra.errors import ResultError
from benchhydra.formats import ImportedRun, Json, exporter, importer, request_rate, unread_keys_warning
from benchhydra.result import Result

STATISTIC = re.compile(r"(mean|median|std|p\d+(?:\.\d+)?)_(ttft|tpot|itl|e2el)_ms")
RATES = ("request_throughput", "output_throughput", "total_token_throughput", "request_goodput")
DATE = "%Y%m%d-%H%M%S"
#: A file may have the 50th percentile under both names.
SAME = {"p50": "median"}
GOODPUT_WITH_COLON = "request_goodput:"
#: Keys that are read, or say nothing that is needed: raw lists, and derived values.
HANDLED_KEYS = {
    *("date", "endpoint_type", "backend", "label", "model_id", "tokenizer_id", "num_prompts", "request_rate"),
    *("burstiness", "max_concurrency", "duration", "completed", "failed", "total_input_tokens", "total_output_tokens"),
    *("input_throughput", "total_throughput", GOODPUT_WITH_COLON, "run_number", "latencies", "queue_times", "rtfx"),
    *("input_lens", "output_lens", "ttfts", "itls", "start_times", "generated_texts", "errors", "best_of"),
    *("max_output_tokens_per_s", "max_concurrent_requests", "use_beam_search", "verdict"),
    *RATES,
}
#: Statistics of delays inside its client, which have no counterpart here.
OWN_STATISTIC = re.compile(r"(mean|median|std|p[\d.]+)_(client_queue_time|e2el_including_client_queue)_ms")


def _recognizes(data: Json) -> bool:
    api_named = "endpoint_type" in data or "backend" in data
    return {"model_id", "request_throughput", "total_input_tokens", "date"} <= data.keys() and api_named


@importer("vllm bench serve", _recognizes)
def runs(data: Json) -> Sequence[ImportedRun]:
    """The one run of a result object."""
    chat = _is_chat(data)
    metrics = {**_statistics(data), **_request_latency(data)}
    if chat:
        metrics = {key: value for key, value in metrics.items() if not key.endswith("_itl_ms")}
    note = "TTFT may be too low: vllm bench serve counts the role-only first chunk as a token"
    return [
        ImportedRun(
            tool="vllm bench serve",
            epoch_time=time.mktime(time.strptime(data["date"], DATE)),
            model=data["model_id"],
            tokenizer=data.get("tokenizer_id") or "",
            repeat=int(data.get("run_number") or 0),
            intent=_intent(data),
            completed=data["completed"],
            failed=_failed(data),
            total_output=data["total_output_tokens"],
            metrics=metrics,
            metadata={
                "num_prompts": data["num_prompts"],
                "request_rate": data["request_rate"],
                "total_input": data["total_input_tokens"],
                **({"duration": data["duration"]} if data["duration"] > 0 else {}),
            },
            warnings=(*((note,) if chat else ()), *_unread_keys_warning(data)),
        )
    ]


@exporter("vllm")
def export(results: Sequence[Result], directory: Path) -> list[Path]:
    """Write one file a result that has timed requests, with the keys of ``--save-result``.

    Unknown values are null or absent. Raises ResultError if there is no such result, and OSError.
    """
    serving = [result for result in results if request_rate(result) is not None and result.status != "failed"]
    if not serving:
        raise ResultError("no serving result with figures to export as vllm bench serve's JSON")
    paths = []
    for result in serving:
        path = directory / f"serve-{result.run_id[:12]}.json"
        write_atomic(path, json.dumps(_as_vllm(result), indent=1, allow_nan=False) + "\n")
        paths.append(path)
    return paths


def _as_vllm(result: Result) -> dict[str, Any]:
    metadata = result.metadata
    flat: dict[str, Any] = {
        "date": time.strftime(DATE, time.localtime(result.epoch_time)),
        "endpoint_type": "openai-chat" if _api(result) == "chat" else "openai",
        "backend": "benchhydra",
        "label": result.description or None,
        "model_id": result.model,
        "tokenizer_id": result.tokenizer,
        "num_prompts": metadata.get("num_prompts"),
        "verdict": result.verdict.value,
        "request_rate": request_rate(result),
        "burstiness": _config_group(result, "load").get("burstiness", 1.0),
        "max_concurrency": _config_group(result, "load").get("max_in_flight"),
        "duration": metadata.get("duration"),
        "completed": metadata.get("completed"),
        "failed": _count(result.value("failed")),
        "total_input_tokens": metadata.get("total_input"),
        "total_output_tokens": metadata.get("total_output"),
        **{key: result.value(key) for key in RATES},
    }
    flat |= {key: metric.value for key, metric in result.metrics.items() if STATISTIC.fullmatch(key)}
    return flat


def _api(result: Result) -> Any:
    """The name of the API, or None. Up to schema 1.0.0 it was a key of the script; imported results may lack it."""
    names = (_config_group(result, "api").get("name"), _config_group(result, "script").get("api"))
    return next((name for name in names if name), None)


def _config_group(result: Result, name: str) -> Mapping[str, Any]:
    part = result.config.get(name)
    return part if isinstance(part, Mapping) else {}


def _count(value: float | None) -> int | None:
    return None if value is None else int(value)


def _is_chat(data: Json) -> bool:
    """Whether the file is of the chat API. Before vLLM 0.10 only the backend tells (``openai-chat``)."""
    return "chat" in str(data.get("endpoint_type", data.get("backend")))


def _unread_keys_warning(data: Json) -> tuple[str, ...]:
    names = {key for key in data if STATISTIC.fullmatch(key) or OWN_STATISTIC.fullmatch(key)}
    return unread_keys_warning(data, HANDLED_KEYS | names)


def _statistics(data: Json) -> dict[str, float]:
    metrics = {key: data[key] for key in RATES if data.get(key) is not None}
    if data.get(GOODPUT_WITH_COLON) is not None:
        metrics["request_goodput"] = data[GOODPUT_WITH_COLON]
    for key, value in data.items():
        match = STATISTIC.fullmatch(key)
        if match and value is not None and _measured(data, match[2]):
            metrics[f"{SAME.get(match[1], match[1])}_{match[2]}_ms"] = value
    if data["duration"] > 0:
        metrics |= {"input_throughput": data["total_input_tokens"] / data["duration"], "duration_s": data["duration"]}
    return metrics


def _measured(data: Json, latency: str) -> bool:
    """Whether a latency has samples: vLLM writes a mean of exactly 0 if there is none, as for TPOT of one token."""
    return bool(data.get(f"mean_{latency}_ms", 1.0))


def _request_latency(data: Json) -> dict[str, float]:
    """Statistics of request latency in ms from the raw list, which a file has even if it lacks the statistics."""
    if "mean_e2el_ms" in data or not data.get("latencies"):
        return {}
    answered = _answered(data)
    if answered is None:
        return {}
    latencies_ms = np.asarray(data["latencies"])[answered] * 1e3
    if not len(latencies_ms):
        return {}
    p90, p95, p99 = np.percentile(latencies_ms, (90, 95, 99))
    return {
        "mean_e2el_ms": float(latencies_ms.mean()),
        "median_e2el_ms": float(np.median(latencies_ms)),
        "std_e2el_ms": float(latencies_ms.std()),
        "p90_e2el_ms": float(p90),
        "p95_e2el_ms": float(p95),
        "p99_e2el_ms": float(p99),
        "max_e2el_ms": float(latencies_ms.max()),
    }


def _answered(data: Json) -> Any:
    """Whether each row of the lists was answered, shape (n,); None if the file does not tell."""
    if data.get("errors") is not None:
        return np.array([not error for error in data["errors"]], dtype=bool)
    return np.ones(len(data["latencies"]), dtype=bool) if not _failed(data) else None


def _failed(data: Json) -> int:
    return int(data["failed"]) if "failed" in data else int(data["num_prompts"]) - int(data["completed"])


def _intent(data: Json) -> dict[str, Any]:
    return {
        "num_prompts": data["num_prompts"],
        "qps": data["request_rate"],
        "load": {"max_in_flight": data.get("max_concurrency"), "burstiness": data.get("burstiness")},
        "script_args": {"api": "chat" if _is_chat(data) else "completions"},
    }
