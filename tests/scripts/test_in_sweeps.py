"""``latency`` and ``startup`` in sweeps, with repeats, in tables, and compared: from outside, as a user has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchhydra.result import Result

FAST = ["engine=fake", "model=llama2", "tracking=none", "script.fail_on=never", "engine.itl_ms=1"]
FAST += ["dataset.prompt_tokens=8", "dataset.output_tokens=4"]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def benchhydra(directory: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "benchhydra", *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def results(directory: Path) -> list[Result]:
    return [Result.read(path) for path in sorted(directory.glob("**/result.json"))]


def test_batch_sizes_and_repeats(tmp_path: Path) -> None:
    words = ["script=latency", "script.batch_size=1,4", "script.iterations=10", "script.warmup_iterations=1"]
    shown = benchhydra(tmp_path, "-m", *FAST, *words, "repeats=2", "engine.ttft_ms=5", "hydra.sweep.dir=a")
    assert "batch" in shown and "latency" in shown and "1 server start" in shown
    measured = results(tmp_path / "a")
    assert len(measured) == 4 and all(result.metrics["batches"].value == 10 for result in measured)
    assert {result.load_label for result in measured} == {"batch=1", "batch=4"}
    benchhydra(tmp_path, "-m", *FAST, *words, "repeats=2", "engine.ttft_ms=5", "hydra.sweep.dir=b")
    compared = json.loads(benchhydra(tmp_path, "compare", "a", "b", "--format", "json"))
    assert "median_batch_latency_ms" in json.dumps(compared)


def test_starts_over_an_argument_of_the_engine(tmp_path: Path) -> None:
    words = ["script=startup", "script.starts=1", "engine.start_s=0.1,1.1", "hydra.sweep.dir=a"]
    shown = benchhydra(tmp_path, "-m", *FAST, *words)
    assert "cold ready" in shown and "4 server starts" in shown
    short, long = (result.metrics["median_warm_ready_s"].value for result in results(tmp_path / "a"))
    assert short < long and long > 1.1
