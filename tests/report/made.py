"""Results with a known truth, as trees of files: a history with a step, sweeps with records, a hostile text."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from benchhydra.records import Records, Status
from benchhydra.request_series import per_second_series
from benchhydra.result import Better, MetricValue, Reason, Result, Verdict, point_key
from benchhydra.series import Series, write_series

DAY_S = 86_400
MS = 1_000_000
RUNS, STEP_AT, INVALID_AT, SUSPECT_AT = 24, 12, 5, 7
ABSURD_MS = 1e6
#: The rate and the repeat whose run of the sweep has series of GPUs.
WATCHED = (2, 1)
#: Its groups of requests, of which the second has a hostile name.
REPLICAS = ("0", '<img src=x onerror="window.hit=1">')
#: Marks up, closes scripts and attributes, and would run; it has to stay a text wherever it stands.
HOSTILE = '<img src=x onerror="window.hit=1"></script><script>window.hit=1</script>\'"&\u2028'


def result(run_id: str, *, ttft_ms: float, qps: float = 4.0, day: float = 0.0, **changes: Any) -> Result:
    """A result of a serving benchmark."""
    config = {"qps": qps, "num_prompts": 40, "seed": 1, "load": {"qps": qps}, "engine": {"args": {}}}
    config |= changes.pop("config", {})
    metrics = {
        "p99_ttft_ms": (2 * ttft_ms, "ms", Better.SMALLER),
        "mean_ttft_ms": (ttft_ms, "ms", Better.SMALLER),
        "median_ttft_ms": (ttft_ms, "ms", Better.SMALLER),
        "p99_e2el_ms": (10 * ttft_ms, "ms", Better.SMALLER),
        "output_throughput": (100 * qps, "tokens/s", Better.BIGGER),
        "completed": (40.0, "requests", Better.OBSERVATION),
    }
    known: dict[str, Any] = {
        "status": "ok",
        "verdict": Verdict.VALID,
        "run_id": run_id,
        "point_key": point_key(config | {"model": changes.get("model", "org/tiny")}),
        "script": "serving",
        "key_metrics": ("output_throughput", "mean_ttft_ms", "p99_ttft_ms", "mean_tpot_ms", "p99_e2el_ms"),
        "charts": (("output_throughput", "mean_ttft_ms"),),
        "model": "org/tiny",
        "dataset": "synthetic",
        "config": config,
        "epoch_time": 1.76e9 + day * DAY_S,
        "wall_s": 2.5,
        "engine_version": "0.5",
        "environment": {"machine_class": "cpu-2c", "git": {"commit": hashlib.sha1(run_id.encode()).hexdigest()}},
        "metrics": {key: MetricValue(key=key, value=v, unit=u, better=b) for key, (v, u, b) in metrics.items()},
    }
    return Result(**(known | changes))


def records(n: int = 40, first_ms: float = 20.0) -> Records:
    """n requests, 50 ms apart, of 100 ms each; the last one fails."""
    sent = np.arange(1, n + 1, dtype=np.int64) * 50 * MS
    spans = Records.of_spans(sent.tolist(), (sent + 100 * MS).tolist(), output_tokens=[5] * n)
    columns = {name: getattr(spans, name).copy() for name in Records.__dataclass_fields__ if name != "errors"}
    columns |= {"first_ns": spans.sent_ns + int(first_ms * MS), "last_ns": spans.done_ns.copy()}
    columns["status"][-1] = Status.TIMEOUT
    return Records(**columns)


def write_history(root: Path) -> None:
    """24 daily runs; from the 13th on 10 % slower. One is INVALID and absurd, one SUSPECT."""
    noise = np.exp(np.random.default_rng(5).normal(0, 0.01, RUNS))
    for i, factor in enumerate(noise):
        changes: dict[str, Any] = {"engine_version": "0.6" if i >= STEP_AT else "0.5"}
        ttft_ms = 20.0 * factor * (1.1 if i >= STEP_AT else 1.0)
        if i in (INVALID_AT, SUSPECT_AT):
            verdict = Verdict.INVALID if i == INVALID_AT else Verdict.SUSPECT
            changes |= {"verdict": verdict, "reasons": (Reason(check="x", severity=verdict, text=f"made {verdict}"),)}
            ttft_ms = ABSURD_MS if i == INVALID_AT else ttft_ms
        result(f"day-{i:02}", ttft_ms=ttft_ms, day=i, **changes).write(root / f"d{i:02}")


def write_hostile(root: Path) -> None:
    """One run whose texts are hostile, and whose id climbs out of directories."""
    said = (Reason(check="x", severity=Verdict.SUSPECT, text=HOSTILE),)
    result(
        f"../../{HOSTILE}",
        ttft_ms=30.0,
        day=30,
        model=f"org/{HOSTILE}",
        description=HOSTILE,
        verdict=Verdict.SUSPECT,
        reasons=said,
        config={"note": HOSTILE},
    ).write(root / "hostile")


def gpu_series(rows: Records) -> list[Series]:
    """Two GPUs of different utilization and power, sampled four times a second from a quarter of a second before."""
    times_ns = int(rows.sent_ns.min()) + np.arange(-1, 9, dtype=np.int64) * 250 * MS
    return [
        Series(name=name, unit=unit, labels={"gpu": gpu}, times_ns=times_ns, values=np.full(len(times_ns), value))
        for name, unit, base in (("gpu.utilization_fraction", "fraction", 0.4), ("gpu.power_w", "W", 200.0))
        for gpu, value in (("0", base), ("1", 2 * base))
    ]


def write_sweep(root: Path, sweep_id: str = "s1") -> None:
    """Three rates, twice each, with records; latency rises with the rate. A sweep.json marks it as one."""
    for i, qps in enumerate((2.0, 8.0, 32.0)):
        for repeat in range(2):
            directory = root / f"q{qps:g}-{repeat}"
            made = result(
                f"{sweep_id}-{i}-{repeat}",
                ttft_ms=20.0 + 10 * i + repeat,
                qps=qps,
                day=40 + 0.01 * i,
                sweep_id=sweep_id,
                repeat=repeat,
                config={"repeat": repeat, "repeats": 2},
            )
            if (i, repeat) == WATCHED:
                made.groups = {"replica": dict.fromkeys(REPLICAS, made.metrics)}
            made.write(directory)
            rows = records(first_ms=20.0 + 10 * i)
            rows.write(directory / "records.parquet")
            if (i, repeat) == WATCHED:
                write_series([*per_second_series(rows), *gpu_series(rows)], directory / "series.parquet")
    (root / "sweep.json").write_text("{}", encoding="utf-8")


RATES = (1.0, 2.0, 4.0, 8.0, 16.0, 24.0)
#: Of the candidate: how much longer its TPOT is.
SLOWER = 1.08
#: What the serving script's results show first.
MAIN = ("output_throughput", "mean_ttft_ms", "p99_ttft_ms", "mean_tpot_ms", "p99_e2el_ms")
#: Unit and direction of the metrics of a watched run.
KINDS = {
    "output_throughput": ("tokens/s", Better.BIGGER),
    "output_throughput_per_user": ("tokens/s", Better.BIGGER),
    "output_throughput_per_gpu": ("tokens/s", Better.BIGGER),
    "mean_gpu_power_w": ("W", Better.OBSERVATION),
    "gpu_j_per_output_token": ("J/token", Better.SMALLER),
    "cost_per_1m_output_tokens": ("USD/1M tokens", Better.SMALLER),
}


def watched_metrics(qps: float, slower: float, rng: np.random.Generator) -> dict[str, float]:
    """The metrics of a server with 32 requests a second of capacity, whose decoding is slower by a factor.

    Runs differ by 0.6 %. The server's parts add up to the client's means.
    """

    def noisy(value: float) -> float:
        return value * float(np.exp(rng.normal(0, 0.006)))

    load = qps / 32
    ttft_ms, tpot_ms = noisy(30 + 20 * load / (1 - load)), noisy((9 + 12 * load) * slower)
    e2el_ms, throughput, power_w = ttft_ms + 99 * tpot_ms, noisy(100 * qps), noisy(180 + 400 * load)
    return {
        "output_throughput": throughput,
        "mean_ttft_ms": ttft_ms,
        "median_ttft_ms": noisy(0.95 * ttft_ms),
        "p99_ttft_ms": noisy(2.2 * ttft_ms),
        "mean_tpot_ms": tpot_ms,
        "median_tpot_ms": noisy(0.98 * tpot_ms),
        "p99_tpot_ms": noisy(1.3 * tpot_ms),
        "mean_e2el_ms": e2el_ms,
        "median_e2el_ms": noisy(0.98 * e2el_ms),
        "p99_e2el_ms": noisy(1.4 * e2el_ms),
        "output_throughput_per_user": 1e3 / tpot_ms,
        "output_throughput_per_gpu": throughput / 2,
        "mean_gpu_power_w": power_w,
        "gpu_j_per_output_token": power_w / throughput,
        "cost_per_1m_output_tokens": 3.2e6 / (3600 * throughput),
        "server_queue_ms": ttft_ms - 27,
        "server_prefill_ms": 25.0,
        "server_decode_ms": 99 * tpot_ms,
        "server_ttft_ms": ttft_ms - 2,
        "server_e2el_ms": e2el_ms - 2,
        "outside_server_ttft_ms": 2.0,
        "outside_server_e2el_ms": 2.0,
    }


def write_system(
    root: Path, name: str, *, slower: float = 1.0, seqs: int = 64, repeats: int = 3, sweep_id: str = ""
) -> None:
    """A sweep of six rates, each repeated, of a system; with its searches' answer and its slowest run's records."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for i, qps in enumerate(RATES):
        for repeat in range(repeats):
            values = watched_metrics(qps, slower, rng)
            made = result(
                f"{name}-{i}-{repeat}",
                ttft_ms=1.0,
                qps=qps,
                day=50 + 0.01 * i,
                sweep_id=sweep_id or name,
                repeat=repeat,
                key_metrics=MAIN,
                engine_version="0.6" if slower > 1 else "0.5",
                environment={"machine_class": "h100", "git": {"commit": hashlib.sha1(name.encode()).hexdigest()}},
                config={"repeat": repeat, "repeats": repeats, "engine": {"args": {"max_num_seqs": seqs}}},
                metrics={key: _metric_value(key, value) for key, value in values.items()},
            )
            made.write(root / f"q{qps:g}-{repeat}")
    answer = {"search": "grid", "overrides": ["qps=1"], "value": 16.5, "unit": "requests/s", "low": 16, "high": 17}
    facts = {
        "sweep_id": sweep_id or name,
        "points": [],
        "answers": [answer | {"limited_by": "p99_ttft_ms", "probes": 18}],
    }
    (root / "sweep.json").write_text(json.dumps(facts), encoding="utf-8")
    rows = records(400, first_ms=45.0)
    rows.write(root / f"q24-{repeats - 1}" / "records.parquet")
    write_series([*per_second_series(rows), *watched_series(rows)], root / f"q24-{repeats - 1}" / "series.parquet")


#: Rate, p99 TTFT in ms, what it decided; of the fifth the load generator was disturbed.
PROBES = (
    (8.0, 55.0, "met"),
    (32.0, 9000.0, "missed"),
    (16.0, 180.0, "met"),
    (22.0, 640.0, "missed"),
    (19.0, None, "unusable"),
    (19.0, 430.0, "unclear"),
    (19.5, 520.0, "unclear"),
)
LIMIT_MS = 500.0


def write_search(root: Path) -> None:
    """A search for the capacity of one system, which p99 TTFT limits; and one that failed."""
    evidence, points = [], []
    for i, (qps, p99_ms, decision) in enumerate(PROBES):
        verdict = Verdict.VALID if decision in ("met", "unclear") else Verdict.INVALID
        reasons = (Reason(check="x", severity=verdict, text=decision),) if verdict is Verdict.INVALID else ()
        made = result(
            f"probe-{i}",
            ttft_ms=(p99_ms or 700.0) / 2,
            qps=qps,
            sweep_id="search",
            repeat=int(i == 5),
            verdict=verdict,
            reasons=reasons,
        )
        made.write(root / f"p{i}")
        points.append({"overrides": [f"qps={qps:g}"], "directory": f"p{i}", "extra": i > 0})
        probe = {
            "key_value": qps,
            "decision": decision,
            "point_key": made.point_key,
            "repeat": made.repeat,
            "requests": 300 + i,
        }
        evidence.append(probe | ({"value": p99_ms} if p99_ms else {}))
    rates = [8.0, 12.0, 16.0, 19.3, 22.0]
    fit = {"key": "qps", "metric": "p99_ttft_ms", "unit": "ms", "limit": LIMIT_MS, "x": rates}
    fit |= {"y": [55, 100, 180, 500, 640], "low": [50, 90, 160, 430, 560], "high": [60, 115, 205, 580, 730]}
    answer = {"search": "capacity", "overrides": [], "value": 19.3, "low": 18.8, "high": 19.9, "confidence": 0.95}
    answer |= {"unit": "requests/s", "limited_by": "p99_ttft_ms <= 500", "probes": 6, "evidence": evidence, "fit": fit}
    answer |= {"figures": [{"name": "output_throughput", "unit": "tokens/s", "value": 1930.0}]}
    failed = {"search": "capacity", "overrides": [], "error": "every probe failed"}
    facts = {"sweep_id": "search", "points": points, "answers": [answer, failed]}
    (root / "sweep.json").write_text(json.dumps(facts), encoding="utf-8")


def _metric_value(key: str, value: float) -> MetricValue:
    is_observation = "server" in key
    unit, better = KINDS.get(key, ("ms", Better.OBSERVATION if is_observation else Better.SMALLER))
    return MetricValue(key=key, value=value, unit=unit, better=better)


def watched_series(rows: Records) -> list[Series]:
    """What probes sample four times a second: the server's gauges and counters, two GPUs, the host."""
    count = int(np.ptp(rows.sent_ns) / 1e9 * 4)
    times_ns = int(rows.sent_ns.min()) + np.arange(-1, count, dtype=np.int64) * 250 * MS
    t = np.arange(len(times_ns)) / len(times_ns)
    wave = 0.5 + 0.4 * np.sin(6 * t) * (t > 0.1)
    shapes: dict[tuple[str, str], Any] = {
        ("server.requests_running", "requests"): np.round(20 * wave),
        ("server.requests_waiting", "requests"): np.round(8 * np.clip(wave - 0.6, 0, 1)),
        ("server.kv_cache_usage_fraction", "fraction"): wave * 0.9,
        ("server.prompt_tokens", "tokens"): np.cumsum(300 * wave),
        ("server.generation_tokens", "tokens"): np.cumsum(900 * wave),
        ("server.queue_ms", "ms"): 30 * np.clip(wave - 0.5, 0, 1),
        ("server.prefill_ms", "ms"): 20 + 5 * wave,
        ("server.decode_ms", "ms"): 700 + 300 * wave,
        ("server.queue_sum_ms", "ms"): np.cumsum(wave),
        ("server.preemptions", "requests"): np.cumsum(wave > 0.85) * 1.0,
        ("host.pressure_fraction", "fraction"): 0.02 + 0.02 * wave,
    }
    per_gpu: dict[tuple[str, str], Any] = {
        ("gpu.power_w", "W"): 200 + 300 * wave,
        ("gpu.energy_j", "J"): np.cumsum(50 + 75 * wave),
        ("gpu.utilization_fraction", "fraction"): 0.3 + 0.7 * wave,
        ("gpu.sm_clock_mhz", "MHz"): 1980 - 60 * wave,
        ("gpu.temperature_c", "C"): 45 + 20 * np.cumsum(wave) / len(wave),
    }
    series = [Series(name=name, unit=unit, times_ns=times_ns, values=v) for (name, unit), v in shapes.items()]
    return series + [
        Series(name=name, unit=unit, labels={"gpu": gpu}, times_ns=times_ns, values=values * factor)
        for (name, unit), values in per_gpu.items()
        for gpu, factor in (("0", 1.0), ("1", 0.93))
    ]
