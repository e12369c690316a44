"""benchhydra ab as it is typed: sides, checks before anything starts, outcome, files, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchhydra.analysis import rerun
from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.runs import Runs
from benchhydra.cli import program
from benchhydra.commands import _sides
from benchhydra.errors import ConfigError
from benchhydra.result import Better, MetricValue, Result, Verdict

pytestmark = pytest.mark.usefixtures("own_place")

SHARED = ["engine=fake", "model=llama2", "qps=100", "num_prompts=10", "dataset.output_tokens=4", "engine.itl_ms=1"]
SHARED += ["script.warmup_requests=0", "tracking=none"]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Runs are drawn, not measured: TTFT is ``engine.ttft_ms`` with 1 % noise. Gives the words of each visit."""
    visits: list[list[str]] = []

    def draw(overrides: list[str], directory: Path, repeats: int, log: Path) -> Runs:
        assert log == directory.with_suffix(".log")
        visits.append(overrides)
        ttft_ms = float(
            next(word for word in reversed(overrides) if word.startswith("engine.ttft_ms=")).partition("=")[2]
        )
        rng = np.random.default_rng([*str(directory).encode()])
        for i in range(repeats):
            value = ttft_ms * float(np.exp(rng.normal(0, 0.01)))
            metric = MetricValue(key="mean_ttft_ms", unit="ms", value=value, better=Better.SMALLER)
            Result(
                status="ok",
                verdict=Verdict.VALID,
                run_id=f"{directory.parent.name}{directory.name}{i}",
                point_key="0123456789abcdef",
                script="serving",
                config={"qps": 2.0, "engine": {"ttft_ms": ttft_ms}},
                epoch_time=float(len(visits)),
                environment={"machine_class": "box"},
                metrics={metric.key: metric},
            ).write(directory / str(i))
        return read_runs(str(directory))

    monkeypatch.setattr(rerun, "measure_again", draw)
    return visits


def ab(*words: str) -> int:
    return program.run(["ab", *words, *SHARED])


def test_a_slower_side_exits_with_3_and_its_files_are_kept(
    measured: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ab("--a", "engine.ttft_ms=20", "--b", "engine.ttft_ms=22", "-o", "out") == 3
    told = capsys.readouterr()
    assert len(told.out.splitlines()) <= 10
    assert told.out.startswith("A/B: B is worse")
    assert "\nA: engine.ttft_ms=20; B: engine.ttft_ms=22\n" in told.out
    pairs = [line for line in told.err.splitlines() if line.startswith("pair ")]
    assert len(told.err.splitlines()) == 5 + len(pairs) + 3  # sides and plan, pairs, plan after three of them, the end
    assert "no history of these points" in told.err
    assert "at most 40 pairs, 80 server starts" in told.err
    document = Path("out/ab.md").read_text()
    assert "B is worse" in document
    assert "engine.ttft_ms: 20.0 -&gt; 22.0" in document
    data = json.loads(Path("out/ab.json").read_text())
    assert (data["exit_code"], data["main_metrics"], data["server_starts"]) == (3, ["mean_ttft_ms"], len(measured))
    assert program.run(["compare", "out/a", "out/b"]) == 0
    assert "worse" in capsys.readouterr().out


def test_both_sides_of_a_pair_get_the_same_load_and_each_pair_another(measured: list[list[str]]) -> None:
    assert ab("--a", "engine.ttft_ms=20", "--b", "engine.ttft_ms=20.2", "--max-pairs", "4", "--seed", "7") == 0
    seeds = [words[-1] for words in measured]
    assert [len(set(seeds[i : i + 2])) for i in range(0, len(seeds), 2)] == [1] * (len(seeds) // 2)
    assert len(set(seeds)) == len(seeds) // 2


def test_files_and_runs_on_one_start(measured: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    Path("A.yaml").write_text("engine:\n  ttft_ms: 22\n  env: {NAME: 'a, b'}\n")
    Path("B.yaml").write_text("- engine.ttft_ms=20\n")
    assert ab("A.yaml", "B.yaml", "--runs-per-start", "2", "--format", "json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["points"][0]["metrics"][0]["change"] == "better"
    assert len(data["points"][0]["base_runs"]) == 2 * data["pairs"]
    assert data["server_starts"] == 2 * data["pairs"]
    assert "engine.env.NAME='a, b'" in data["overrides"]["a"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--a", "engine.ttft_ms=-1", "--b", "engine.ttft_ms=1"], "engine.ttft_ms=-1.0 must be at least 0"),
        (["--a", "engine.no_such=1", "--b", "engine.ttft_ms=1"], "no_such"),
        (["--a", "qps=1,2", "--b", "qps=3"], "qps=1,2"),
        (["--a", "qps=1", "--b", "qps=2", "--metric", "p99_tttft_ms"], "--metric=p99_tttft_ms: no such metric"),
        (["--a", "qps=1", "--b", "qps=2", "--metric", "p99.9_ttft_ms"], "hint: percentiles=[99.9]"),
        ([], "both sides are the same"),
        (["A.yaml"], "two files or none"),
        (["A.yaml", "B.yaml"], "cannot read A.yaml"),
        (["--a", "qps=1", "--b", "qps=2", "--max-pairs", "0"], "must be above 0"),
    ],
)
def test_errors_are_reported_before_anything_starts(
    measured: list[list[str]], capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert ab(*words) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert measured == []


def test_old_keys_are_renamed_once_for_all_runs(measured: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--a", "engine.ttft_ms=20", "--b", "engine.ttft_ms=22", "--max-pairs", "2", "engine.short_share=0"]
    assert ab(*words) == 0
    note = "engine.short_share is now engine.short_fraction: reading engine.short_share=0 as engine.short_fraction=0"
    assert capsys.readouterr().err.count(note) == 1
    assert all("engine.short_fraction=0" in visit and "engine.short_share=0" not in visit for visit in measured)


def test_a_full_directory_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    Path("out/mine").touch()
    assert ab("--a", "qps=1", "--b", "qps=2", "-o", "out") == 1
    assert "out is not empty" in capsys.readouterr().err


@pytest.mark.parametrize("body", ["just text", "[1, 2]", "defaults: [model: tiny]", "a: {b: !!set {c}}"])
def test_files_that_are_not_overrides_are_refused(body: str) -> None:
    Path("A.yaml").write_text(body)
    with pytest.raises(ConfigError, match=r"A\.yaml"):
        _sides.read_side(Path("A.yaml"))


def test_values_in_files_are_written_in_hydras_grammar() -> None:
    Path("A.yaml").write_text("a: {b: true, c: null}\nd: [x, 1]\ne: it's\nf: 2.5\n")
    assert _sides.read_side(Path("A.yaml")) == ["a.b=true", "a.c=null", "d=[x,1]", r"e='it\'s'", "f=2.5"]


def test_an_interrupted_test_reports_what_it_has(tmp_path: Path) -> None:
    words = ["ab", "--a", "engine.ttft_ms=5", "--b", "engine.ttft_ms=6", *SHARED, "-o", "out", "validity.stall_ms=1e6"]
    with subprocess.Popen(
        [sys.executable, "-m", "benchhydra", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        while not list(tmp_path.glob("out/?/002/*/result.json")):
            assert process.poll() is None
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped: interrupted in pair" in out
    assert json.loads(Path("out/ab.json").read_text())["server_starts"] >= 2
