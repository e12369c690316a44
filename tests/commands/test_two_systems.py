"""Two systems x 6 rates x 3 repeats, one 8 % slower: compare names it in its first line, and gate exits with 3."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchhydra import metrics
from benchhydra.cli import program
from benchhydra.records import Records
from benchhydra.result import Result, Verdict, point_key
from benchhydra.scripts.serving import Serving
from benchhydra.window import Window

pytestmark = pytest.mark.usefixtures("own_place")

RATES = (20.0, 30.0, 40.0, 50.0, 60.0, 80.0)
REPEATS = 3
TPOT_MS, SLOWER, TOKENS, REQUESTS = 10.0, 1.08, 16, 100
MS = 1_000_000
CAPABILITIES = {"requests", "latency", "stream", "tokens", "generated", "schedule"}
SIDES = ("--base", "engine.itl_ms=10", "--candidate", "engine.itl_ms=10.8")
#: A busy machine must not decide which points are believable: this is about comparing.
BELIEVE = [
    *("script.fail_on=never", "script.warmup_requests=1", "tracking=none", "validity.reached_fraction=0"),
    *("validity.lag_ms=1e9", "validity.stall_ms=1e9", "validity.client_cpu_fraction=99"),
    *("validity.client_wait_fraction=9", "validity.client_wait_fraction_of_server=9", "validity.other_cpu_fraction=9"),
]


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
    rows.write(result.write(folder / name).with_name("records.parquet"))


def write_sweep(folder: Path, tpots_ms: Sequence[float] = (TPOT_MS, TPOT_MS * SLOWER), seed: int = 0) -> None:
    """Systems of these TPOTs at every rate, three times each."""
    for system, tpot_ms in enumerate(tpots_ms, seed):
        for qps in RATES:
            for repeat in range(REPEATS):
                write_run(folder, f"{system}-{qps:g}-{repeat}", qps, tpot_ms, [system, int(qps), repeat])


def check_comparison(lines: list[str]) -> None:
    """The first line names the slower metric, its size and its extent; all is on one screen."""
    assert lines[0].startswith("WORSE: ")
    assert "mean_tpot_ms +7." in lines[0] or "mean_tpot_ms +8." in lines[0]
    assert len(lines) <= 25
    assert sum(line.startswith("qps=") and "✗" in line for line in lines) >= len(RATES) - 1
    assert "request_throughput stands for output_throughput" in "\n".join(lines)


def test_the_slower_system_is_named_in_the_first_line_and_fails_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(Path("sweep"))
    assert program.run(["compare", "sweep", *SIDES]) == 0
    lines = capsys.readouterr().out.splitlines()
    check_comparison(lines)
    assert "mean_tpot_ms" in lines[0].partition(" at 6 of 6 points")[0]
    assert program.run(["gate", "sweep", *SIDES, "--no-confirm"]) == 3
    assert "REGRESSION: mean_tpot_ms +" in capsys.readouterr().err.splitlines()[0]


def test_a_system_compared_with_its_equal_is_not_called_worse(capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(Path("base"), [TPOT_MS])
    write_sweep(Path("again"), [TPOT_MS], seed=7)
    assert program.run(["compare", "base", "again"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "WORSE" not in lines[0]
    assert [line.split()[0] for line in lines if line.startswith("qps=") and ":" not in line] == [
        f"qps={rate:g}" for rate in RATES
    ]
    assert len(lines) <= 25
    assert program.run(["gate", "base", "again", "--no-confirm"]) == 0


@pytest.mark.alone
def test_a_comparison_takes_less_than_two_seconds() -> None:
    write_sweep(Path("sweep"))
    start_s = time.monotonic()
    command = [sys.executable, "-m", "benchhydra", "compare", "sweep", *SIDES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert time.monotonic() - start_s < 2.0
    check_comparison(done.stdout.splitlines())


@pytest.mark.slow
def test_so_it_is_with_the_fake_engine() -> None:
    words = ["model=tiny", "engine=fake", "engine.itl_ms=10,10.8", f"qps={','.join(f'{rate:g}' for rate in RATES)}"]
    words += ["num_prompts=10", f"dataset.output_tokens={TOKENS}", f"repeats={REPEATS}", "hydra.sweep.dir=sweep"]
    program_words = [sys.executable, "-m", "benchhydra"]
    subprocess.run([*program_words, "-m", *words, *BELIEVE], capture_output=True, check=True, timeout=200)
    compared = subprocess.run([*program_words, "compare", "sweep", *SIDES], capture_output=True, text=True, check=True)
    check_comparison(compared.stdout.splitlines())
    gated = subprocess.run([*program_words, "gate", "sweep", *SIDES, "--no-confirm"], capture_output=True, text=True)
    assert gated.returncode == 3
    assert "REGRESSION: mean_tpot_ms +" in gated.stderr.splitlines()[0]
