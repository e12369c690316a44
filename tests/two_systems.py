"""Results of two systems at six rates, three times each, made by the real writers; the second one has a longer TPOT."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchhydra import metrics
from benchhydra.records import Records
from benchhydra.request_series import per_second_series
from benchhydra.result import Result, Verdict, point_key
from benchhydra.scripts.serving import Serving
from benchhydra.series import write_series
from benchhydra.window import Window

RATES = (20.0, 30.0, 40.0, 50.0, 60.0, 80.0)
REPEATS = 3
TPOT_MS, SLOWER, TOKENS, REQUESTS = 10.0, 1.08, 16, 100
MS = 1_000_000
CAPABILITIES = {"requests", "latency", "stream", "tokens", "generated", "schedule"}


def served(qps: float, tpot_ms: float, rng: np.random.Generator) -> Records:
    """Requests at random times; TTFT varies from request to request, and everything by 0.2 % from run to run."""
    sent_ns = (np.cumsum(rng.exponential(1 / qps, REQUESTS)) * 1000 * MS).astype(np.int64)
    run_factor = np.exp(rng.normal(0, 0.002))
    first_ns = sent_ns + (50 * MS * run_factor * rng.lognormal(0, 0.1, REQUESTS)).astype(np.int64)
    last_ns = first_ns + int(tpot_ms * MS * run_factor * (TOKENS - 1))
    counts = {"prompt_tokens": [32] * REQUESTS, "output_tokens": [TOKENS] * REQUESTS}
    spans = Records.of_spans(sent_ns.tolist(), last_ns.tolist(), **counts)
    gaps_ns = np.full(REQUESTS * (TOKENS - 1), tpot_ms * MS * run_factor, dtype=np.float32)
    offsets = np.arange(REQUESTS + 1, dtype=np.int64) * (TOKENS - 1)
    return dataclasses.replace(spans, first_ns=first_ns, last_ns=last_ns, gaps_ns=gaps_ns, gap_offsets=offsets)


def write_run(folder: Path, name: str, qps: float, tpot_ms: float, seed: list[int]) -> None:
    """A run of a system whose TPOT is ``tpot_ms``, with the figures of its requests."""
    rows = served(qps, tpot_ms, np.random.default_rng(seed))
    config = {"script": {"name": "serving"}, "qps": qps, "engine": {"name": "fake", "itl_ms": tpot_ms}}
    result = Result(
        status="ok",
        verdict=Verdict.VALID,
        run_id=name,
        point_key=point_key(config),
        script="serving",
        model="tiny",
        dataset="synthetic",
        load_label=f"qps={qps:g}",
        config=config,
        epoch_time=1.76e9 + sum(seed),
        environment={"machine_class": "box"},
        metrics={m.key: m for m in metrics.summarize(Window.of(rows), CAPABILITIES)},
        key_metrics=Serving.key_metrics,
    )
    directory = result.write(folder / name).parent
    rows.write(directory / "records.parquet")
    write_series(per_second_series(rows), directory / "series.parquet")


def write_sweep(folder: Path, tpots_ms: Sequence[float] = (TPOT_MS, TPOT_MS * SLOWER), seed: int = 0) -> None:
    """Systems of these TPOTs at every rate, three times each."""
    for system, tpot_ms in enumerate(tpots_ms, seed):
        for qps in RATES:
            for repeat in range(REPEATS):
                write_run(folder, f"{system}-{qps:g}-{repeat}", qps, tpot_ms, [system, int(qps), repeat])
