"""Sweeps that are killed at random moments and resumed: a short run of ``benchmarks/crash_trials.py``, and of races."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.sweep.conftest import QUICK
from tests.waiting import wait_for

FILE = Path(__file__).parents[2] / "benchmarks/crash_trials.py"
Sweeps = Any  # the fixture ``sweeps`` of conftest.py


@pytest.fixture(scope="module")
def crash_trials() -> ModuleType:
    spec = importlib.util.spec_from_file_location("crash_trials", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up annotations
    spec.loader.exec_module(module)
    return module


def test_killed_and_resumed_every_point_is_there_once(crash_trials: ModuleType, tmp_path: Path) -> None:
    """In one directory, and once in MLflow; half of the points are measured again on each resume."""
    trial = crash_trials.Round(tmp_path / "round", "local", random.Random(5), typical_s=3.0)
    try:
        trial.kill_and_resume(5)
    finally:
        for process in trial.processes():
            process.kill()
    assert len(trial.kills) >= 3


def results_of(directory: Path, kind: str) -> dict[str, str]:
    """Directory of each run or sweep -> the descriptions of its results."""
    found: dict[str, set[str]] = {}
    for path in directory.glob(f"outputs/{kind}/**/result.json"):
        owner = path.parent if kind == "runs" else path.parents[1]
        found.setdefault(owner.name, set()).add(json.loads(path.read_text())["description"])
    return {name: " ".join(sorted(descriptions)) for name, descriptions in found.items()}


@pytest.fixture
def same_second(tmp_path: Path) -> list[str]:
    """Words with which every program gets the same default directory, as two that begin in one second do."""
    local = tmp_path / "conf" / "local" / "default.yaml"
    local.parent.mkdir(parents=True)
    directories = "hydra: {run: {dir: outputs/runs/x}, sweep: {dir: outputs/sweeps/x}}"
    local.write_text(f"# @package _global_\n{directories}\n")
    return ["--config-dir", str(local.parents[1])]


def start(directory: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchhydra", *words, *QUICK, "qps=100", "num_prompts=5"],
        cwd=directory,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1"},
        text=True,
    )


def run(directory: Path, *words: str) -> tuple[int, str]:
    """The exit code and the stderr of one program."""
    process = start(directory, *words)
    error = process.communicate(timeout=120)[1]
    return process.returncode, error


def test_programs_that_begin_in_one_second_get_directories_of_their_own(tmp_path: Path, same_second: list[str]) -> None:
    processes = [start(tmp_path, *mode, *same_second, f"description={n}") for n in "AB" for mode in ([], ["-m"])]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    for kind in ("runs", "sweeps"):
        results = results_of(tmp_path, kind)
        assert sorted(results) == ["x", "x.2"] and sorted(results.values()) == ["A", "B"]


def test_a_typed_directory_is_used_as_it_is_and_keeps_its_result(tmp_path: Path) -> None:
    assert run(tmp_path, "hydra.run.dir=point", "engine.fail_start=true")[0] == 1
    assert run(tmp_path, "hydra.run.dir=point")[0] == 0, "a failed result has no figures to lose"
    first = (tmp_path / "point/result.json").read_bytes()
    code, error = run(tmp_path, "hydra.run.dir=point")
    assert code == 1 and "already holds a result" in error
    assert (tmp_path / "point/result.json").read_bytes() == first


def test_jobs_of_another_sweeper_have_directories_of_their_own(tmp_path: Path) -> None:
    assert run(tmp_path, "-m", "hydra/sweeper=basic", "hydra.sweep.dir=sweep", "seed=1,2")[0] == 0
    assert sorted(path.parent.name for path in tmp_path.glob("sweep/*/result.json")) == ["0", "1"]


def test_a_sweep_that_runs_is_not_resumed_by_another_process(sweeps: Sweeps) -> None:
    words = ["seed=range(0,50)", "qps=10", "num_prompts=10"]
    process = sweeps.start(*words)
    wait_for(lambda: sweeps.results(), 60, "a point")
    assert sweeps.run(*words, f"sweep.resume={sweeps.directory}") == 1
    assert "another process runs the sweep" in sweeps.log.read_text()
    assert process.poll() is None
    process.terminate()
    assert process.wait(60) == 143


def test_workers_of_joblib_end_when_their_sweep_is_killed(
    sweeps: Sweeps, no_survivors: Callable[[Path], list[str]]
) -> None:
    words = ["model=llama2,mistral", "seed=range(0,3)", "qps=4", "num_prompts=5", "launcher=joblib"]
    process = sweeps.start(*words)
    wait_for(lambda: len(sweeps.results()) >= 2, 60, "two points")
    process.kill()
    process.wait()
    wait_for(lambda: not no_survivors(sweeps.directory), 60, "the workers and their servers to end")
    assert len(sweeps.results()) < 6
    measured = {name: result for name, result in sweeps.results().items() if result["status"] == "ok"}
    earlier = {name: result["run_id"] for name, result in measured.items()}
    assert sweeps.run(*words, f"sweep.resume={sweeps.directory}") == 0, sweeps.log.read_text()[-3000:]
    now = {name: result["run_id"] for name, result in sweeps.results().items()}
    assert len(now) == 6 and earlier.items() <= now.items()
