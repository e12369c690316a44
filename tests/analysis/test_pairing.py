"""Points are paired by workload; systems are what is compared; the user may choose other keys or parts of a source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchhydra.analysis.pairing import Pairing, point_settings_of, runs_by_point
from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.runs import Runs, runs_of_results
from benchhydra.cli import program
from benchhydra.result import Better, MetricValue, Result, Verdict, point_key

pytestmark = pytest.mark.usefixtures("own_place")

CONFIG: dict[str, Any] = {
    "script": {"name": "serving", "stream": True},
    "dataset": {"name": "synthetic", "output_tokens": 16},
    "load": {"name": "poisson"},
    "model": {"id": "llama"},
    "engine": {"name": "vllm", "args": {"max_num_seqs": 64}},
    "num_prompts": 100,
}


def results(
    name: str, *, qps: float, seqs: int = 64, slower: float = 1.0, model: str = "llama", **dataset: int
) -> None:
    """Three runs of a point below the directory ``name``."""
    config = CONFIG | {
        "qps": qps,
        "model": {"id": model},
        "dataset": CONFIG["dataset"] | dataset,
        "engine": {"name": "vllm", "args": {"max_num_seqs": seqs}},
    }
    key = point_key(config)
    rng = np.random.default_rng([*f"{name}{key}".encode()])
    for i in range(3):
        value = 100.0 * slower * float(np.exp(rng.normal(0, 0.002)))
        metric = MetricValue(key="mean_ttft_ms", unit="ms", value=value, better=Better.SMALLER)
        Result(
            status="ok",
            verdict=Verdict.VALID,
            run_id=f"{name}-{key}-{i}".replace("/", "-"),
            point_key=key,
            script="serving",
            model=model,
            config=config,
            epoch_time=i + 1.0,
            environment={"machine_class": "box"},
            metrics={metric.key: metric},
        ).write(Path(name, key, str(i)))


def compared(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, document and stderr of a comparison."""
    code = program.run(["compare", *words, "--format", "json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else {}, err


def labels(document: dict[str, Any]) -> list[tuple[str, float]]:
    return [(point["label"], round(point["metrics"][0]["ratio"], 1)) for point in document["points"]]


@pytest.fixture
def two_systems(own_place: Path) -> None:
    """Two directories of three rates each; the second system is 20 % slower."""
    for qps in (1.0, 2.0, 4.0):
        results("a", qps=qps)
        results("b", qps=qps, seqs=128, slower=1.2)


@pytest.mark.usefixtures("two_systems")
def test_two_systems_are_paired_by_their_workload(capsys: pytest.CaptureFixture[str]) -> None:
    code, document, _ = compared(capsys, "a", "b")
    assert code == 0
    assert labels(document) == [(f"serving llama synthetic qps={qps}", 0.2) for qps in (1, 2, 4)]
    assert document["only_base"] == document["only_candidate"] == []
    assert program.run(["compare", "a", "b"]) == 0
    out = capsys.readouterr().out
    assert out.count("engine.args.max_num_seqs: 64 -> 128") == 1
    sides = "serving llama synthetic, 3 runs a side and point; differs: engine.args.max_num_seqs: 64 -> 128"
    assert out.splitlines()[1] == sides
    assert program.run(["gate", "a", "b"]) == 3


@pytest.mark.usefixtures("two_systems")
def test_parts_of_one_source_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--base", "engine.args.max_num_seqs=64", "--candidate", "max_num_seqs=128")
    code, document, _ = compared(capsys, ".", *words)
    assert (code, len(document["points"])) == (0, 3)
    assert program.run(["gate", ".", *words]) == 3
    assert program.run(["gate", ".", *words, "--against", "history"]) == 4
    capsys.readouterr()
    assert compared(capsys, ".")[0] == 1
    code, _, err = compared(capsys, ".", "--base", "max_num_seqs=64", "--candidate", "max_num_seqs=256")
    assert code == 1
    assert "no run has max_num_seqs=256" in err and "one of 128, 64" in err
    err = compared(capsys, ".", "--base", "max_seqs=1", "--candidate", "qps=1")[2]
    assert "no run has a setting max_seqs" in err and "did you mean max_num_seqs?" in err


def test_a_setting_that_is_selected_may_be_of_the_workload(capsys: pytest.CaptureFixture[str]) -> None:
    for qps in (1.0, 2.0):
        results("a", qps=qps)
        results("a", qps=qps, output_tokens=64, slower=1.5)
    words = ("--base", "output_tokens=16", "--candidate", "output_tokens=64")
    code, document, err = compared(capsys, "a", *words)
    assert (code, len(document["points"])) == (8, 2)
    assert "the workloads differ: dataset.output_tokens: 16 -> 64" in err


def test_several_systems_a_side_must_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    for qps in (1.0, 2.0):
        results("a", qps=qps)
        results("a", qps=qps, seqs=32)
        results("b", qps=qps, seqs=128)
    code, document, err = compared(capsys, "a", "b")
    assert (code, document["points"]) == (4, [])
    assert "several systems for a workload, which differ in engine.args.max_num_seqs: --base KEY=VALUE" in err
    code, document, _ = compared(capsys, "a", "b", "--base", "max_num_seqs=32")
    assert (code, len(document["points"])) == (0, 2)


def test_nothing_paired_says_which_keys_differ(capsys: pytest.CaptureFixture[str]) -> None:
    for qps in (1.0, 2.0):
        results("a", qps=qps)
        results("b", qps=qps + 10)
    code, _, err = compared(capsys, "a", "b")
    assert code == 4
    assert err.splitlines()[0] == "compare: nothing comparable: no point has a partner: they differ in qps (and 2 more)"


def test_the_user_chooses_what_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    for qps in (1.0, 2.0):
        for model in ("llama", "mistral"):
            results("a", qps=qps, model=model)
            results("b", qps=qps, model=model, output_tokens=20, slower=1.1)
    code, document, _ = compared(capsys, "a", "b", "--by", "qps,model")
    assert (code, len(document["points"])) == (0, 4)
    code, _, err = compared(capsys, "a", "b", "--by", "qps")
    assert code == 1
    assert "--by qps does not tell 2 points of the base apart: they differ in model.id" in err


def test_one_point_of_another_workload_is_shown_and_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    results("a", qps=1.0)
    results("b", qps=2.0, slower=1.5)
    code, document, err = compared(capsys, "a", "b")
    assert (code, len(document["points"])) == (8, 1)
    assert "the workloads differ: qps: 1.0 -> 2.0" in err
    assert document["points"][0]["metrics"][0]["change"] == "inconclusive"


def test_results_in_memory_are_paired_too() -> None:
    results("a", qps=1.0)
    results("a", qps=2.0)
    results("b", qps=1.0, seqs=128)
    results("b", qps=2.0, seqs=128)
    sides: list[Runs] = []
    for name in "ab":
        files = sorted(Path(name).rglob("result.json"))
        sides.append(runs_of_results([Result.read(file) for file in files]))
    base, candidate = (runs_by_point(runs.runs) for runs in sides)
    pairs = Pairing().pairs(base, candidate)
    assert len(pairs) == 2
    (from_file,) = [run for run in read_runs("a").runs if run.run_id == sides[0].runs[0].run_id]
    assert point_settings_of(sides[0].runs[0]) == point_settings_of(from_file)
