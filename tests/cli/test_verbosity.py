"""--json and -q of runs and sweeps: what is on stdout, and what is on stderr."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from benchhydra.cli import program
from benchhydra.verbosity import Verbosity, choose_verbosity, verbosity

pytestmark = pytest.mark.usefixtures("own_place")

WORDS = ["engine=fake", "model=tiny", "tracking=none", "num_prompts=4", "qps=100", "dataset.output_tokens=2"]
WORDS += ["engine.ttft_ms=1", "engine.itl_ms=1", "script.warmup_requests=0", "script.fail_on=never"]


@pytest.fixture(autouse=True)
def hydra_is_new() -> None:
    GlobalHydra.instance().clear()


def test_a_run_prints_its_result_as_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["--json", *WORDS, "hydra.run.dir=out"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == json.loads(Path("out/result.json").read_text())
    assert "server" in told.err


def test_a_quiet_run_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run([*WORDS, "-q", "hydra.run.dir=out"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "")
    assert Path("out/result.json").is_file()


def test_a_quiet_run_says_why_it_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["--quiet", *WORDS, "engine.fail_start=true", "hydra.run.dir=out"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: the server exited with code 1")


def test_a_sweep_prints_the_results_of_its_points(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["-m", "--json", *WORDS, "qps=100,200", "hydra.sweep.dir=out"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [result["config"]["qps"] for result in results] == [100, 200]
    GlobalHydra.instance().clear()
    assert program.run(["-m", "-q", *WORDS, "qps=100,200", "hydra.sweep.dir=again"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "")


def test_the_last_option_counts_and_the_next_command_line_begins_anew() -> None:
    assert choose_verbosity(["-q", "qps=1", "--json", "-m"]) == ["qps=1", "-m"]
    assert verbosity() is Verbosity.JSON
    assert choose_verbosity(["qps=1"]) == ["qps=1"]
    assert verbosity() is Verbosity.TABLES
