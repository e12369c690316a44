from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchhydra.analysis import read_runs
from benchhydra.analysis.runs import MetricKind, Run, ScriptHighlights, runs_of_results
from benchhydra.artifacts import INDEX_FILE, RESULT_FILE
from benchhydra.errors import ResultError
from benchhydra.result import Better, MetricValue, Result, Verdict


def point(directory: Path, name: str, at: float = 1.0, ttft_ms: float = 50.0, **more: Any) -> Path:
    metric = MetricValue(key="mean_ttft_ms", unit="ms", value=ttft_ms, better=Better.SMALLER)
    return Result(
        status="ok",
        verdict=Verdict.VALID,
        run_id=name,
        point_key="0123456789abcdef",
        script="serving",
        config={"qps": float("inf"), "num_prompts": 5},
        epoch_time=at,
        model="m",
        dataset="sonnet",
        environment={"machine_class": "box", "git": {"commit": "abc"}},
        metrics={metric.key: metric},
        **more,
    ).write(directory)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """60 points of six sweeps, newest first."""
    for i in range(60):
        point(tmp_path / f"sweeps/{i // 10}/point-{i}", f"run{i}", at=100.0 - i)
    return tmp_path


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are parsed from now on."""
    seen: list[Path] = []
    read = read_runs.read_run

    def counted(path: Path, kinds: dict[str, MetricKind], scripts: dict[str, ScriptHighlights]) -> Run:
        seen.append(path)
        return read(path, kinds, scripts)

    monkeypatch.setattr(read_runs, "read_run", counted)
    return seen


def test_a_source_may_be_a_file_a_point_or_a_sweep(tree: Path) -> None:
    sweep = tree / "sweeps/2"
    assert len(read_runs.read_runs(str(sweep)).runs) == 10
    assert [run.run_id for run in read_runs.read_runs(str(sweep / "point-20")).runs] == ["run20"]
    (run,) = read_runs.read_runs(str(sweep / "point-20" / RESULT_FILE)).runs
    assert (run.label, run.machine, run.commit) == ("serving m sonnet qps=inf", "box", "abc")
    assert run.metrics == {"mean_ttft_ms": 50.0}
    assert run.directory == sweep / "point-20"


def test_runs_are_oldest_first_with_their_metrics(tree: Path) -> None:
    source = read_runs.read_runs(str(tree))
    assert [run.run_id for run in source.runs] == [f"run{i}" for i in reversed(range(60))]
    assert source.kinds["mean_ttft_ms"] == MetricKind("ms", Better.SMALLER)


def test_the_index_saves_parsing(tree: Path, parsed: list[Path]) -> None:
    first = read_runs.read_runs(str(tree))
    assert len(parsed) == 60
    parsed.clear()
    assert read_runs.read_runs(str(tree)) == first
    assert parsed == []


def test_only_what_changed_is_parsed_again(tree: Path, parsed: list[Path]) -> None:
    read_runs.read_runs(str(tree))
    parsed.clear()
    changed, new, gone = tree / "sweeps/0/point-3", tree / "sweeps/7/point-60", tree / "sweeps/0/point-4"
    point(changed, "run3", ttft_ms=61.25)
    point(new, "run60")
    (gone / RESULT_FILE).unlink()
    runs = {run.run_id: run for run in read_runs.read_runs(str(tree)).runs}
    assert sorted(parsed) == [changed / RESULT_FILE, new / RESULT_FILE]
    assert runs["run3"].metrics["mean_ttft_ms"] == 61.25
    assert "run60" in runs
    assert "run4" not in runs


def test_the_index_stays_valid_when_the_tree_is_moved(tree: Path, parsed: list[Path]) -> None:
    read_runs.read_runs(str(tree))
    parsed.clear()
    moved = tree.rename(tree.with_name("elsewhere"))
    run = read_runs.read_runs(str(moved)).runs[0]
    assert parsed == []
    assert run.directory == moved / "sweeps/5/point-59"


@pytest.mark.parametrize("content", [b"", b"\xff\x00 no index", b"\x93\x01\x80\x80"])
def test_a_broken_index_is_ignored(tree: Path, parsed: list[Path], content: bytes) -> None:
    (tree / INDEX_FILE).write_bytes(content)
    assert len(read_runs.read_runs(str(tree)).runs) == 60
    assert len(parsed) == 60


def test_no_index_is_written_for_a_small_tree(tmp_path: Path) -> None:
    point(tmp_path / "a", "one")
    read_runs.read_runs(str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_files_that_are_not_results_are_named_and_left_out_of_the_index(tree: Path) -> None:
    (tree / "sweeps/0/point-3" / RESULT_FILE).write_text('{"half": ')
    for _ in range(2):
        source = read_runs.read_runs(str(tree))
        (fault,) = source.faults
        assert len(source.runs) == 59
        assert "point-3/result.json is not a benchhydra result" in fault


@pytest.mark.parametrize("content", ['{"half": ', "[]", '{"metrics": {}}', "\x00"])
def test_a_bad_file_is_named_in_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / RESULT_FILE
    file.write_text(content)
    with pytest.raises(ResultError) as raised:
        read_runs.read_runs(str(file))
    assert str(file) in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(ResultError, match="not a benchhydra result"):
        read_runs.read_runs(str(tmp_path))


def test_another_schema_is_refused(tmp_path: Path) -> None:
    file = point(tmp_path, "one")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"json_schema_version": "2.0.0"}))
    with pytest.raises(ResultError, match=r"schema version 2\.0\.0"):
        read_runs.read_runs(str(file))


def test_a_source_without_results(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no results in"):
        read_runs.read_runs(str(tmp_path))
    with pytest.raises(ResultError, match="no such file"):
        read_runs.read_runs(str(tmp_path / "missing"))


def test_hidden_and_linked_directories_are_not_searched(tmp_path: Path) -> None:
    point(tmp_path / "a", "one")
    point(tmp_path / ".hidden", "two")
    (tmp_path / "latest").symlink_to(tmp_path / "a")
    assert [run.run_id for run in read_runs.read_runs(str(tmp_path)).runs] == ["one"]


def version_1_0_0(directory: Path, script: str = "serving") -> None:
    """A result as version 0.1 wrote it: old names of metrics, and nothing about what to show first."""
    file = point(directory, "old")
    result = json.loads(file.read_text())
    del result["key_metrics"], result["charts"], result["load_label"]
    old_name = "p50_ttft_with_failures_ms"
    result["metrics"][old_name] = {"key": old_name, "unit": "ms", "value": 7.0, "type": "SmallerIsBetter"}
    file.write_text(json.dumps(result | {"json_schema_version": "1.0.0", "script": script}))


def test_renamed_metrics_are_read_under_their_new_names(tmp_path: Path) -> None:
    version_1_0_0(tmp_path)
    source = read_runs.read_runs(str(tmp_path))
    assert source.runs[0].metrics == {"mean_ttft_ms": 50.0, "median_ttft_with_failures_ms": 7.0}
    assert source.kinds["median_ttft_with_failures_ms"] == MetricKind("ms", Better.SMALLER)
    assert source.runs[0].label == "serving m sonnet qps=inf"


def test_old_results_have_the_key_metrics_of_their_script(tmp_path: Path) -> None:
    version_1_0_0(tmp_path / "a")
    version_1_0_0(tmp_path / "b", script="of_a_plugin")
    scripts = read_runs.read_runs(str(tmp_path)).scripts
    assert "p99_ttft_ms" in scripts["serving"].key_metrics
    assert ("achieved_rps", "p99_ttft_ms") in scripts["serving"].charts
    assert scripts["of_a_plugin"] == ScriptHighlights()


def test_key_metrics_are_read_from_the_result(tmp_path: Path) -> None:
    charts = (("achieved_rps", "mean_ttft_ms"),)
    point(tmp_path / "a", "a", key_metrics=("mean_ttft_ms",), charts=charts, load_label="8 sessions")
    point(tmp_path / "b", "b", key_metrics=("completed", "mean_ttft_ms"), charts=charts)
    for _ in range(2):
        source = read_runs.read_runs(str(tmp_path))
        assert set(source.scripts["serving"].key_metrics) == {"mean_ttft_ms", "completed"}
        assert source.scripts["serving"].charts == charts
        assert {run.label for run in source.runs} == {"serving m sonnet 8 sessions", "serving m sonnet qps=inf"}


def test_the_index_stores_key_metrics(tree: Path, parsed: list[Path]) -> None:
    point(tree / "new", "new", key_metrics=("mean_ttft_ms",), load_label="8 sessions")
    first = read_runs.read_runs(str(tree))
    parsed.clear()
    assert read_runs.read_runs(str(tree)).scripts == first.scripts == {"serving": ScriptHighlights(("mean_ttft_ms",))}
    assert parsed == []


def test_runs_from_results_in_memory_equal_those_from_files(tmp_path: Path) -> None:
    file = point(tmp_path, "a", key_metrics=("mean_ttft_ms",), charts=(("x", "y"),), load_label="8 sessions")
    assert runs_of_results([Result.read(file)], str(file)) == read_runs.read_runs(str(file))
