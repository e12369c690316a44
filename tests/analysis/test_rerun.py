from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchhydra.analysis import rerun
from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.runs import Run
from benchhydra.artifacts import RESULT_FILE, SWEEP_FILE
from benchhydra.errors import ResultError
from benchhydra.result import Result, Verdict

POINT = ["model=llama2", "script=serving", "qps=100", "engine=fake", "engine.ttft_ms=5", "engine.itl_ms=1"]
POINT += ["num_prompts=10", "script.warmup_requests=0"]


def run_at(directory: Path, **result: object) -> Run:
    directory.mkdir(parents=True)
    (directory / RESULT_FILE).write_text(json.dumps(result))
    return Run(
        run_id="a",
        point_key="k",
        verdict=Verdict.VALID,
        status="ok",
        epoch_time=0.0,
        source=str(directory / RESULT_FILE),
    )


def test_sweep_overrides_are_left_out(tmp_path: Path) -> None:
    words = ["qps=5", "+engine.args.a=1", "repeats=9", "seed=3", "tracking=mlflow", "tracking.uri=x", "hydra.verbose=1"]
    run = run_at(
        tmp_path / "a",
        metadata={"overrides": [*words, "sweep.order=random", "search=repeats", "search.ci=mean_ttft_ms:2%"]},
    )
    assert rerun.overrides_of(run) == ["qps=5", "+engine.args.a=1"]


def test_overrides_of_points_are_read_from_the_sweep(tmp_path: Path) -> None:
    run = run_at(tmp_path / "b", metadata={})
    points = [{"directory": "a", "overrides": ["qps=1"]}, {"directory": "b", "overrides": ["qps=2", "seed=1"]}]
    (tmp_path / SWEEP_FILE).write_text(json.dumps({"points": points}))
    assert rerun.overrides_of(run) == ["qps=2"]


def test_a_result_that_does_not_record_how_to_run_it(tmp_path: Path) -> None:
    run = run_at(tmp_path / "a", metadata={})
    assert rerun.overrides_of(run) is None
    with pytest.raises(ResultError, match="--no-confirm"):
        rerun.into_directory(tmp_path / "again")(run, 2)


def test_a_point_is_measured_again_as_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = rerun.measure_again(POINT, tmp_path / "a first, with = signs", 1).runs
    assert rerun.overrides_of(first[0]) == POINT
    again = rerun.into_directory(tmp_path / "again")(first[0], 2)
    assert len(again) == 2
    assert {run.point_key for run in again} == {first[0].point_key}
    assert len({run.run_id for run in (*first, *again)}) == 3
    assert len(read_runs(str(tmp_path / "again")).runs) == 2
    assert Result.read(Path(again[1].source)).config["num_prompts"] == 10


def test_a_run_that_fails_to_start_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(words: list[str], *, stdout: int) -> int:
        return 2

    monkeypatch.setattr(rerun, "run_program", fails)
    with pytest.raises(ResultError, match="exit code 2") as raised:
        rerun.measure_again(["qps=1"], tmp_path / "out", 1)
    assert "-m benchhydra -m qps=1 repeats=1" in raised.value.hint
