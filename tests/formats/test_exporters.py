"""What is written for others: names that last, nothing that must not be believed, and a way back."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import pytest

from benchhydra import formats
from benchhydra.commands import convert, export
from benchhydra.errors import ResultError
from benchhydra.result import Better, MetricValue, Result, Verdict
from benchhydra.result_files import read_result_files

DATA = Path(__file__).parent / "data"
METRICS = {
    "request_throughput": MetricValue(key="request_throughput", unit="requests/s", value=10.0, better=Better.BIGGER),
    "mean_ttft_ms": MetricValue(key="mean_ttft_ms", unit="ms", value=20.0, better=Better.SMALLER),
    "duration_s": MetricValue(key="duration_s", unit="s", value=60.0, better=Better.OBSERVATION),
}


def made(run_id: str = "r1", machine: str = "a10g-1", version: str = "0.11", **facts: Any) -> Result:
    known: dict[str, Any] = {
        "status": "ok",
        "verdict": Verdict.VALID,
        "script": "serving",
        "config": {"qps": 1.0, "num_prompts": 300, "load": {}, "dataset": {}},
        "model": "mistralai/Mistral-7B-Instruct-v0.2",
        "dataset": "sharegpt",
        "point_key": "0123456789abcdef",
        "epoch_time": 1.79e9,
        "metrics": dict(METRICS),
        "metadata": {"request_rate": 1.0},
        "engine_version": version,
        "environment": {"machine_class": machine, "packages": {"python": "3.11", "torch": "2.9"}},
    }
    return Result(run_id=run_id, **{**known, **facts})


def value_of(result: Result, key: str, value: float) -> dict[str, MetricValue]:
    metric = result.metrics[key]
    changed = MetricValue(key=key, unit=metric.unit, value=value, better=metric.better)
    return {**result.metrics, key: changed}


def gha(directory: Path, *results: Result) -> dict[str, list[dict[str, Any]]]:
    written = formats.exporters()["gha"](results, directory)
    return {str(path.relative_to(directory)): json.loads(path.read_text()) for path in written}


def test_gha_has_three_files_by_direction(tmp_path: Path) -> None:
    files = gha(tmp_path, made())
    name = "Mistral-7B-Instruct-v0.2/sharegpt/serving,qps=1,n=300"
    assert {file: [entry["name"] for entry in entries] for file, entries in files.items()} == {
        "a10g-1/bigger_is_better.json": [f"{name}/request_throughput"],
        "a10g-1/smaller_is_better.json": [f"{name}/mean_ttft_ms"],
        "a10g-1/observation_metrics.json": [f"{name}/duration_s"],
    }
    [entry] = files["a10g-1/smaller_is_better.json"]
    assert entry["value"] == 20.0 and entry["unit"] == "ms" and "engine: 0.11" in entry["extra"]


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"metadata": {"request_rate": "inf"}}, "serving,qps=inf,n=300"),
        (
            {"metadata": {"request_rate": "inf"}, "config": {"qps": 1.0, "load": {"max_in_flight": 8}}},
            "serving,c=8",
        ),
        ({"script": "throughput", "metadata": {}}, "throughput,n=300"),
        ({"script": "latency", "metadata": {}, "load_label": "batch=8"}, "latency,n=300"),
        ({"metadata": {"tool": "aiperf"}}, "serving,qps=1,n=300"),
    ],
)
def test_gha_names_hold_the_load(tmp_path: Path, facts: dict[str, Any], name: str) -> None:
    [entry] = gha(tmp_path, made(**facts))["a10g-1/smaller_is_better.json"]
    assert entry["name"] == f"Mistral-7B-Instruct-v0.2/sharegpt/{name}/mean_ttft_ms"


def test_gha_names_do_not_change_with_versions(tmp_path: Path) -> None:
    packages = {"machine_class": "a10g-1", "packages": {"python": "3.13", "torch": "3.0"}}
    before = gha(tmp_path / "a", made())
    after = gha(tmp_path / "b", made(version="0.32", environment=packages))
    assert [[e["name"] for e in entries] for entries in before.values()] == [
        [e["name"] for e in entries] for entries in after.values()
    ]


def test_gha_has_a_suite_for_each_class_of_machine(tmp_path: Path) -> None:
    files = gha(tmp_path, made(), made("r2", machine="h100-8"), made("r3", environment={}))
    assert {file.partition("/")[0] for file in files} == {"a10g-1", "h100-8", "unknown-machine"}
    assert all(len(entries) == 1 for entries in files.values())


def test_gha_leaves_out_results_that_are_not_believable(tmp_path: Path) -> None:
    bad = [made("r2", verdict=Verdict.INVALID), made("r3", status="failed"), made("r4", status="interrupted")]
    files = gha(tmp_path, made(), *bad)
    assert all("repeats: 1" in entries[0]["extra"] for entries in files.values())
    with pytest.raises(ResultError, match="all 3 results failed or are INVALID"):
        gha(tmp_path / "none", *bad)
    assert not (tmp_path / "none").exists()


def test_gha_repeats_are_one_entry_with_their_spread(tmp_path: Path) -> None:
    second = made("r2", repeat=1, metrics=value_of(made(), "mean_ttft_ms", 22.0), verdict=Verdict.SUSPECT)
    [entry] = gha(tmp_path, made(), second)["a10g-1/smaller_is_better.json"]
    assert entry["value"] == 21.0 and entry["range"] == "± 1.414" and "verdict: SUSPECT" in entry["extra"]


def test_gha_points_with_the_same_name_get_distinct_names(tmp_path: Path) -> None:
    entries = gha(tmp_path, made(), made("r2", point_key="fedcba9876543210"))["a10g-1/smaller_is_better.json"]
    assert sorted(entry["name"].split(",")[-1] for entry in entries) == [
        "01234567/mean_ttft_ms",
        "fedcba98/mean_ttft_ms",
    ]


def test_csv_has_one_row_per_result_and_empty_cells_for_unknown_values(tmp_path: Path) -> None:
    without = {key: metric for key, metric in METRICS.items() if key != "mean_ttft_ms"}
    [path] = formats.exporters()["csv"]([made(), made("r2", verdict=Verdict.INVALID, metrics=without)], tmp_path)
    with path.open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert first["mean_ttft_ms"] == "20.0" and second["mean_ttft_ms"] == ""
    assert [row["verdict"] for row in (first, second)] == ["VALID", "INVALID"]
    assert first["request_throughput"] == "10.0" and first["run_id"] == "r1"


@pytest.mark.parametrize("name", ["vllm_serve", "vllm_serve_detailed", "guidellm_poisson", "aiperf_ok"])
def test_vllms_json_can_be_read_back(tmp_path: Path, name: str) -> None:
    [result] = formats.read_foreign_results(DATA / f"{name}.json")
    [path] = formats.exporters()["vllm"]([result], tmp_path)
    [back] = formats.read_foreign_results(path)
    derived = ("input_throughput",)  # made of tokens and duration: the file has none
    shared = {key: metric.value for key, metric in result.metrics.items() if key not in derived}
    kept = {key: value for key, value in shared.items() if not key.startswith("max_")}
    assert {key: back.value(key) for key in kept} == pytest.approx(kept, rel=1e-9)
    assert (back.model, back.verdict, int(back.epoch_time)) == (result.model, result.verdict, int(result.epoch_time))


def test_vllms_json_is_for_serving_alone(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no serving result"):
        formats.exporters()["vllm"]([made(script="throughput", metadata={})], tmp_path)


def run(command: Any, *words: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    code: int = command.run(parser.parse_args([str(word) for word in words]))
    return code


def test_convert_then_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, out = tmp_path / "results", tmp_path / "out"
    files = [DATA / "guidellm_two.json", DATA / "vllm_serve_failed.json"]
    assert run(convert, *files, "-o", results) == 0
    printed = capsys.readouterr().out
    assert printed.count("VALID") == 3 and "all 4 requests failed" in printed
    assert len(read_result_files(results).results) == 3
    with pytest.raises(ResultError, match="already has a result"):
        run(convert, files[0], "-o", results)
    assert run(export, results, "--format", "csv", "-o", out) == 0
    assert capsys.readouterr().out == f"{out / 'results.csv'}\n"


def test_a_file_that_cannot_be_read_leaves_nothing_half_converted(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    with pytest.raises(ResultError, match=r"broken\.json"):
        run(convert, DATA / "vllm_serve.json", broken, "-o", tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_an_empty_directory_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"no result\.json in .*\n.*a run or a sweep has written"):
        run(export, tmp_path, "--format", "gha", "-o", tmp_path / "out")
