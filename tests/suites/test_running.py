"""Suites and configs run: real processes on the fake engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.processes import command_line, descendants

pytestmark = pytest.mark.slow

QUICK = ["model=custom", "model.id=m", "engine.ttft_ms=1", "engine.itl_ms=0.5", "tracking=none", "script.fail_on=never"]
EXPERIMENT = """# @package _global_
# {name}: for tests
defaults:
  - override /engine: fake
  - override /model: custom
num_prompts: 3
qps: .inf
model:
  id: m
dataset:
  prompt_tokens: 8
  output_tokens: 4
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      seed: 1,2
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A directory with two experiments, and a suite in which the first one cannot start its server."""
    directory = tmp_path / "own conf"
    for name in ("one", "two"):
        file = directory / "experiment" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(EXPERIMENT.format(name=name))
    suites = directory / "suite"
    suites.mkdir()
    (suites / "half.yaml").write_text(
        "# one fails\nexperiments:\n  - one: [engine.fail_start=true]\n  - two\n  - two: ['seed=3']\n"
    )
    (suites / "long.yaml").write_text("# takes long\nexperiments:\n  - one: [num_prompts=200, qps=1]\n  - two\n")
    return directory


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "benchhydra", *map(str, words)]


def run(cwd: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(
        command(*words), cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def results(directory: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(directory.glob("*/result.json"))]


def rows(summary: str) -> dict[str, list[str]]:
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in summary.splitlines() if "|" in line]
    head = cells[0]
    assert head == ["experiment", "VALID", "SUSPECT", "INVALID", "failed", "time", "exit code", "results"]
    return {row[0]: row for row in cells[2:]}


def test_a_failing_experiment_does_not_stop_the_others(tmp_path: Path, conf: Path) -> None:
    out = tmp_path / "its out"
    ended = run(tmp_path, "suite", "half", "--config-dir", conf, "-o", out, *QUICK[2:])
    assert ended.returncode == 1, ended.stderr
    table = rows((out / "summary.md").read_text())
    assert (out / "summary.md").read_text() in ended.stdout
    assert list(table) == ["one", "two", "two-2"]
    assert table["one"][4] == "2" and table["one"][6] == "1"
    assert [sum(map(int, table[name][1:4])) for name in ("two", "two-2")] == [2, 1]
    assert table["two"][6] == table["two-2"][6] == "0"
    assert len(results(out / "two")) == 2 and all(result["status"] == "ok" for result in results(out / "two"))
    assert "3 of 3 experiments ran, 1 failed" in ended.stdout


def test_a_successful_suite_measures_nothing_when_resumed(tmp_path: Path, conf: Path) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text("# a file of my own\nexperiments: [two]\n")
    words: tuple[str | Path, ...] = (
        "suite",
        suite,
        "-o",
        tmp_path / "out",
        "--config-dir",
        conf,
        *QUICK[2:],
    )
    first = run(tmp_path, *words)
    assert first.returncode == 0, first.stderr
    kept = {result["run_id"] for result in results(tmp_path / "out" / "two") if result["verdict"] != "INVALID"}
    again = run(tmp_path, *words)
    assert again.returncode == 1 and "already holds a sweep" in again.stderr
    resumed = run(tmp_path, *words, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert kept <= {result["run_id"] for result in results(tmp_path / "out" / "two")}


def test_a_plan_starts_nothing(tmp_path: Path, conf: Path) -> None:
    ended = run(tmp_path, "suite", "half", "--plan", "--config-dir", conf, "-o", tmp_path / "out")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("2 points, 1 group, 1 server start") == 2
    assert not (tmp_path / "out").exists()


def test_the_list_says_what_each_suite_is(tmp_path: Path, conf: Path) -> None:
    ended = run(tmp_path, "suite", "--list", "--config-dir", conf)
    assert ended.returncode == 0, ended.stderr
    assert "half            3 experiments: one fails" in ended.stdout
    assert {line.split()[0] for line in ended.stdout.splitlines()} >= {"minimal", "nightly", "remote_push", "weekly"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_suite_stops_its_experiment_and_leaves_nothing(
    tmp_path: Path, conf: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    words = command("suite", "long", "--config-dir", conf, "-o", out)
    suite = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        family: list[psutil.Process] = []
        while not any("fakeserver" in command_line(member) for member in family):
            assert time.monotonic() < until and suite.poll() is None
            time.sleep(0.05)
            family = descendants(suite.pid)
        suite.send_signal(number)
        assert suite.wait(timeout=120) == 128 + number
    finally:
        suite.kill()  # nothing, where it has ended
        suite.wait()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    assert not (out / "two").exists()


SUITES = [
    ("experiments: [one, no_such]", "no such experiment: no_such"),
    ("experiments: []", "is not a suite"),
    ("experiments: [one]\nparallel: 4", "is not a suite"),
    ("experiments: [{one: 3}]", "is not an experiment"),
    ("experiments: [{one: [3]}]", "overrides must be texts"),
    ("experiments: [", "cannot read"),
]


@pytest.mark.parametrize(("text", "message"), SUITES)
def test_a_bad_suite_is_one_line_before_anything_starts(tmp_path: Path, text: str, message: str) -> None:
    from benchhydra.commands import suite
    from benchhydra.errors import ConfigError

    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "one.yaml").touch()
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        suite.read_suite(path, [tmp_path])


def test_a_config_file_runs_as_it_says(tmp_path: Path) -> None:
    asked = {
        "description": "two rates, it's tiny",
        "models": ["some/model"],
        "max_model_lens": [512],
        "sparsity": [],
        "script_name": "benchmark_serving",
        "script_args": {"nr-qps-pair_": ["3,50", "4,inf"]},
    }
    offline = {
        "models": ["some/model"],
        "max_model_lens": [512],
        "script_name": "benchmark_throughput",
        "script_args": {"input-len": [8], "output-len": [4], "num-prompts": [3], "use-all-available-gpus_": []},
    }
    file = tmp_path / "asked.json"
    file.write_text(json.dumps({"configs": [asked, offline]}))
    listed = tmp_path / "list.txt"
    listed.write_text("configs/asked.json\n")
    out = tmp_path / "out"
    more = ("engine=fake", *QUICK[2:], "dataset.output_tokens=4")
    ended = run(tmp_path, "run-config", listed, "-o", out, *more)
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in out.iterdir()) == ["01-two-rates-it-s-tiny", "02-config", "summary.md"]
    served = results(out / "01-two-rates-it-s-tiny")
    assert sorted((result["config"]["num_prompts"], str(result["config"]["qps"])) for result in served) == [  # type: ignore[index]
        (3, "50.0"),
        (4, "inf"),
    ]
    assert {result["description"] for result in served} == {"two rates, it's tiny"}
    [offline_result] = results(out / "02-config")
    assert offline_result["script"] == "throughput" and offline_result["status"] == "ok"
