"""Two systems x 6 rates x 3 repeats, one 8 % slower: compare names it in its first line, and gate exits with 3."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.two_systems import RATES, REPEATS, TOKENS, TPOT_MS, write_sweep

from benchhydra.cli import program

pytestmark = pytest.mark.usefixtures("own_place")

SIDES = ("--base", "engine.itl_ms=10", "--candidate", "engine.itl_ms=10.8")
#: A busy machine must not decide which points are believable: this is about comparing.
BELIEVE = [
    *("script.fail_on=never", "script.warmup_requests=1", "tracking=none", "validity.reached_fraction=0"),
    *("validity.lag_ms=1e9", "validity.stall_ms=1e9", "validity.client_cpu_fraction=99"),
    *("validity.client_wait_fraction=9", "validity.client_wait_fraction_of_server=9", "validity.other_cpu_fraction=9"),
]


def check_comparison(lines: list[str]) -> None:
    """The first line names the slower metric, its size and its extent; all is on one screen."""
    assert lines[0].startswith("WORSE: ")
    assert "mean_tpot_ms +7." in lines[0] or "mean_tpot_ms +8." in lines[0]
    assert len(lines) <= 25
    assert sum(line.startswith("qps=") for line in lines if ": " not in line) == len(RATES)
    assert "request_throughput stands for output_throughput" in "\n".join(lines)


def test_the_slower_system_is_named_in_the_first_line_and_fails_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(Path("sweep"))
    assert program.run(["compare", "sweep", *SIDES]) == 0
    lines = capsys.readouterr().out.splitlines()
    check_comparison(lines)
    assert "mean_tpot_ms" in lines[0].partition(" at 6 of 6 points")[0]
    assert sum("✗" in line for line in lines if line.startswith("qps=")) == len(RATES)
    assert program.run(["gate", "sweep", *SIDES, "--no-confirm"]) == 3
    first_line = capsys.readouterr().err.splitlines()[0]
    assert first_line.startswith("gate: REGRESSION: mean_tpot_ms +")
    assert " at 6 points" in first_line


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
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "benchhydra", "compare", "sweep", *SIDES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # CPU time: what it takes where nothing else runs
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0
    check_comparison(done.stdout.splitlines())


@pytest.mark.alone
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


def test_the_gates_summary_has_a_line_a_metric(capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(Path("sweep"))
    assert program.run(["gate", "sweep", *SIDES, "--no-confirm"]) == 3
    summary = capsys.readouterr().out.partition("<details>")[0]
    lines = [line for line in summary.splitlines() if "**" in line]
    tpot = [line for line in lines if "**mean_tpot_ms**" in line]
    assert len(tpot) == 1
    assert tpot[0].endswith(" at all 6 points")
    assert len({line.partition("**")[2].partition("**")[0] for line in lines}) == len(lines)
