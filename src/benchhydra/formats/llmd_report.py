"""Import of llm-d's benchmark report (versions 0.1, 0.2 and 0.2.1; YAML or JSON): one run a file.

Every value has its unit. The report is made from another tool's file, and its TPOT and ITL are what that tool calls so:
they are read only for tools whose definitions are known.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

from benchhydra.errors import ResultError
from benchhydra.formats import ImportedRun, Json, importer, unread_keys_warning

LATENCIES = {"time_to_first_token": "ttft", "request_latency": "e2el"}
#: Tools -> their names of our TPOT and ITL. guidellm's TPOT includes the first token, and its ITL is our TPOT.
TOKEN_LATENCIES = {
    "inference-perf": {"time_per_output_token": "tpot", "inter_token_latency": "itl"},
    "vllm-benchmark": {"time_per_output_token": "tpot", "inter_token_latency": "itl"},
    "inferencemax": {"time_per_output_token": "tpot", "inter_token_latency": "itl"},
    "guidellm": {"inter_token_latency": "tpot"},
}
STATISTICS = {
    "mean": "mean",
    "p50": "median",
    "stddev": "std",
    "p90": "p90",
    "p95": "p95",
    "p99": "p99",
    "max": "max",
}
TO_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
#: Our rate -> (its name since 0.2, its unit; its name in 0.1).
RATES = {
    "request_throughput": ("request_rate", "queries/s", "requests_per_sec"),
    "input_throughput": ("input_token_rate", "tokens/s", "input_tokens_per_sec"),
    "output_throughput": ("output_token_rate", "tokens/s", "output_tokens_per_sec"),
    "total_token_throughput": ("total_token_rate", "tokens/s", "total_tokens_per_sec"),
}
#: Latencies, and throughputs, that are read, or have no counterpart here.
HANDLED_LATENCIES = {*LATENCIES, "time_per_output_token", "inter_token_latency", "normalized_time_per_output_token"}
HANDLED_RATES = {name for names in RATES.values() for name in names} | {"image_rate", "audio_rate", "video_rate"}
DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?")


def _recognizes(data: Json) -> bool:
    is_report = {"version", "scenario"} <= data.keys() and isinstance(data["scenario"], Mapping)
    return is_report and ("metrics" in data or "results" in data) and "load" in data["scenario"]


@importer("llm-d benchmark report", _recognizes)
def runs(data: Json) -> Sequence[ImportedRun]:
    """The one run of a report."""
    is_first = str(data["version"]) == "0.1"
    figures = data["metrics"] if is_first else data["results"]["request_performance"]["aggregate"]
    tool = str((data["scenario"]["load"] if is_first else _load(data)).get("name" if is_first else "tool") or "")
    requests, duration_s = figures["requests"], _duration_s(data, is_first)
    incomplete = requests.get("incomplete") or 0
    failed = requests.get("failures")
    return [
        ImportedRun(
            tool="llm-d benchmark report",
            tool_version=str(data["version"]),
            epoch_time=_start_s(data, is_first),
            model=_model(data, is_first),
            description=str((data["scenario"] if is_first else data.get("run") or {}).get("description") or ""),
            intent=_intent(data, tool, is_first),
            completed=requests["total"] - (failed or 0) - incomplete,
            failed=failed,
            metrics={**_rates(figures.get("throughput") or {}), **_latencies(figures, tool), "duration_s": duration_s},
            metadata={"num_prompts": requests["total"], "duration": duration_s, "harness": tool},
            warnings=_warnings(figures, tool, incomplete),
        )
    ]


def _warnings(figures: Json, tool: str, incomplete: int) -> tuple[str, ...]:
    unknown_tool = f"TPOT and ITL of {tool or 'an unnamed tool'} are not read: how it defines them is not known"
    return (
        *((f"{incomplete} requests were not complete, and are not counted",) if incomplete else ()),
        *((unknown_tool,) if tool not in TOKEN_LATENCIES else ()),
        *unread_keys_warning(figures["latency"], HANDLED_LATENCIES, "latencies"),
        *unread_keys_warning(figures.get("throughput") or {}, HANDLED_RATES, "throughputs"),
    )


def _latencies(figures: Json, tool: str) -> dict[str, float]:
    metrics = {}
    for theirs, ours in {**LATENCIES, **TOKEN_LATENCIES.get(tool, {})}.items():
        spread = figures["latency"].get(theirs) or {}
        for name, statistic in STATISTICS.items():
            if spread.get(name) is not None:
                metrics[f"{statistic}_{ours}_ms"] = spread[name] * _to_ms(spread["units"])
    return metrics


def _to_ms(units: str) -> float:
    unit = units.removesuffix("/token")
    if unit not in TO_MS:
        raise ResultError(f"unknown unit of a time: {units!r}", hint=f"known units: {', '.join(TO_MS)}")
    return TO_MS[unit]


def _rates(throughput: Json) -> dict[str, float]:
    rates = {}
    for ours, (name, unit, first_name) in RATES.items():
        value = throughput.get(name, throughput.get(first_name))
        if isinstance(value, Mapping):
            if value["units"] != unit:
                raise ResultError(f"unknown unit of {name}: {value['units']!r}", hint=f"known: {unit}")
            value = value["mean"]
        if value is not None:
            rates[ours] = value
    return rates


def _load(data: Json) -> Json:
    load: Json = data["scenario"]["load"].get("standardized") or {}
    return load


def _model(data: Json, is_first: bool) -> str:
    if is_first:
        return str(data["scenario"]["model"]["name"])
    parts = [part.get("standardized") or {} for part in data["scenario"].get("stack") or ()]
    return str(next((part["model"]["name"] for part in parts if part.get("model")), ""))


def _start_s(data: Json, is_first: bool) -> float | None:
    start = (data["metrics"]["time"] if is_first else data["run"]["time"]).get("start")
    if isinstance(start, datetime.datetime):
        return start.timestamp()
    return datetime.datetime.fromisoformat(start).timestamp() if isinstance(start, str) else start


def _duration_s(data: Json, is_first: bool) -> float:
    """The duration: seconds in 0.1, else of the form PT49.97S."""
    duration = (data["metrics"]["time"] if is_first else data["run"]["time"])["duration"]
    if not isinstance(duration, str):
        return float(duration)
    match = DURATION.fullmatch(duration)
    if match is None:
        raise ValueError(f"the duration {duration!r} has another form than PT49.97S")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def _intent(data: Json, tool: str, is_first: bool) -> dict[str, Any]:
    """What identifies the point: the load, and where it runs."""
    if is_first:
        load, host = data["scenario"]["load"], data["scenario"].get("host")
        return {"tool": tool, "load": {"kind": load.get("type")}, "args": load.get("args"), "host": host}
    load = dict(_load(data))
    rate, concurrency = load.pop("rate_qps", None), load.pop("concurrency", None)
    in_flight = concurrency if isinstance(concurrency, int) else None
    identity = {key: value for key, value in load.items() if key not in ("tool_version", "stage")}
    return {"qps": rate, "load": {"max_in_flight": in_flight}, "workload": identity}
