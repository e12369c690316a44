"""Sweeps with known figures, written as files of results without measuring anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchhydra.records import Records
from benchhydra.request_series import per_second_series
from benchhydra.result import Better, MetricValue, Reason, Result, Verdict, point_key
from benchhydra.series import Series, write_series

SECONDS = 30
#: What the server answers at most.
HIGHEST_QPS = 40.0
KEY_METRICS = (
    "request_throughput",
    "output_throughput",
    "mean_ttft_ms",
    "p99_ttft_ms",
    "mean_tpot_ms",
    "p99_e2el_ms",
)
UNITS = {"request_throughput": "requests/s", "output_throughput": "tokens/s", "achieved_rps": "requests/s"}


def metrics(qps: float, slowness: float, rng: np.random.Generator) -> dict[str, float]:
    """Figures of a server that gets slower with the rate, with 1 % noise."""
    rate = min(qps, HIGHEST_QPS)
    values = {
        "request_throughput": rate,
        "output_throughput": rate * 64,
        "achieved_rps": rate,
        "mean_ttft_ms": (20 + rate * rate * 0.03) * slowness,
        "p99_ttft_ms": (45 + rate * rate * 0.1) * slowness,
        "mean_tpot_ms": (9 + rate * 0.11) * slowness,
        "mean_e2el_ms": (600 + rate * 8) * slowness,
        "p99_e2el_ms": (700 + rate * 11) * slowness,
    }
    noise = {name: 1 + 0.01 * float(rng.standard_normal()) for name in values if name.endswith("_ms")}
    return {name: value * noise.get(name, 1.0) for name, value in values.items()}


def result_of(
    sweep_id: str, qps: float, settings: Mapping[str, Any], slowness: float = 1.0, repeat: int = 0, **changes: Any
) -> Result:
    """A point. settings: flat keys of the config."""
    rate = min(qps, HIGHEST_QPS)
    rng = np.random.default_rng([round(rate * 1000), repeat, round(slowness * 100)])
    config: dict[str, Any] = {
        "model": {"id": "org/small-model"},
        "engine": {"args": {}},
        "load": {"qps": qps},
        "qps": qps,
        "num_prompts": round(rate * SECONDS),
        "seed": 1,
        "repeat": repeat,
        "dataset": {"prompt_tokens": 256, "output_tokens": 64},
    }
    for key, value in settings.items():
        *parents, leaf = key.split(".")
        node = config
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    values = metrics(qps, slowness, rng)
    known: dict[str, Any] = {
        "status": "ok",
        "verdict": Verdict.VALID,
        "run_id": f"{sweep_id}-{qps:g}-{'-'.join(map(str, settings.values()))}-{repeat}",
        "point_key": point_key(config),
        "sweep_id": sweep_id,
        "repeat": repeat,
        "script": "serving",
        "model": config["model"]["id"],
        "dataset": "synthetic",
        "config": config,
        "epoch_time": 1_700_000_000.0 + rate * 60 + repeat,
        "wall_s": SECONDS + 2.0,
        "metrics": {
            name: MetricValue(
                key=name,
                unit=UNITS.get(name, "ms"),
                value=value,
                better=Better.SMALLER if name.endswith("_ms") else Better.BIGGER,
            )
            for name, value in values.items()
        },
        "key_metrics": KEY_METRICS,
        "charts": (("achieved_rps", "p99_ttft_ms"), ("output_throughput", "mean_tpot_ms")),
        "load_label": f"qps={qps:g}",
    }
    return Result(**(known | changes))


def invalid(reason: str) -> dict[str, Any]:
    """The changes that make a result INVALID."""
    return {
        "verdict": Verdict.INVALID,
        "reasons": (Reason(check="made", severity=Verdict.INVALID, text=reason),),
    }


def write_sweep(
    directory: Path,
    systems: Mapping[Any, float],
    *,
    key: str = "model.id",
    rates: Sequence[float],
    sampled: bool = True,
) -> None:
    """Write a sweep of systems (value of ``key`` -> slowness) over rates. Its id is the directory's name.

    sampled: with the series of probes.
    """
    for value, slowness in systems.items():
        for qps in rates:
            point = directory / f"{str(value).replace('/', '_')},qps={qps:g}"
            result_of(directory.name, qps, {key: value}, slowness).write(point)
            if sampled:
                write_series(series(qps, slowness), point / "series.parquet")


def series(qps: float, slowness: float) -> list[Series]:
    """Those of the client by second, and of the probes four times a second."""
    rng = np.random.default_rng(round(qps * 1000))
    sent = np.sort(rng.uniform(0, SECONDS, round(qps * SECONDS)))
    sent_ns = (sent * 1e9).astype(np.int64)
    spans = Records.of_spans(sent_ns.tolist(), (sent_ns + int(7e8 * slowness)).tolist(), output_tokens=[64] * len(sent))
    columns = {name: getattr(spans, name) for name in Records.__dataclass_fields__}
    first_ns = sent_ns + (rng.uniform(15, 40, len(sent)) * slowness * 1e6).astype(np.int64)
    records = Records(**(columns | {"first_ns": first_ns, "last_ns": spans.done_ns}))
    times_ns = np.arange(4 * SECONDS, dtype=np.int64) * 250_000_000
    wave = 1 + 0.1 * np.sin(times_ns / 3e9)
    sampled = {
        ("server.requests_running", "requests", ()): wave * qps * 0.7,
        ("server.kv_cache_usage_fraction", "fraction", ()): wave * qps / 60,
        ("gpu.power_w", "W", (("gpu", "0"),)): 300 + 200 * wave,
        ("gpu.energy_j", "J", (("gpu", "0"),)): np.cumsum(125 * wave),
        ("host.cpu_fraction", "fraction", (("group", "server"),)): 0.4 * wave,
        ("host.cpu_fraction", "fraction", (("group", "client"),)): 0.1 * wave,
    }
    return per_second_series(records) + [
        Series(name=name, unit=unit, labels=dict(labels), times_ns=times_ns, values=values)
        for (name, unit, labels), values in sampled.items()
    ]
