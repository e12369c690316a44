"""Results with a known truth, as trees of files: a history with a step, a sweep with records, a hostile text."""

from __future__ import annotations

import hashlib
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
        for name, unit, base in (("gpu.utilization", "%", 40.0), ("gpu.power", "W", 200.0))
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
            made.write(directory)
            rows = records(first_ms=20.0 + 10 * i)
            rows.write(directory / "records.parquet")
            if (i, repeat) == WATCHED:
                write_series([*per_second_series(rows), *gpu_series(rows)], directory / "series.parquet")
    (root / "sweep.json").write_text("{}", encoding="utf-8")
