"""Other tools' files give the figures that those tools print; what they define otherwise is absent."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchhydra import formats
from benchhydra.errors import ResultError
from benchhydra.result import Better, Result, Verdict

DATA = Path(__file__).parent / "data"

#: File -> what the tool printed for each run, by our names. Compared with as many decimals as were printed.
PRINTED: dict[str, list[dict[str, str]]] = {
    "vllm_serve": [
        {
            "completed": "12",
            "duration_s": "0.64",
            "request_throughput": "18.72",
            "output_throughput": "149.77",
            "total_token_throughput": "1248.12",
            "mean_ttft_ms": "14.40",
            "median_ttft_ms": "13.45",
            "p90_ttft_ms": "17.90",
            "p95_ttft_ms": "18.44",
            "p99_ttft_ms": "18.60",
            "mean_tpot_ms": "2.99",
            "median_tpot_ms": "2.97",
            "p99_tpot_ms": "3.28",
            "mean_itl_ms": "2.99",
            "p95_itl_ms": "3.98",
            "p99_itl_ms": "6.99",
            "mean_e2el_ms": "35.35",
            "median_e2el_ms": "34.62",
            "p99_e2el_ms": "39.04",
        }
    ],
    "vllm_serve_detailed": [
        {
            "request_throughput": "70.14",
            "request_goodput": "70.14",
            "output_throughput": "561.13",
            "total_token_throughput": "4676.09",
            "mean_ttft_ms": "18.11",
            "p99_ttft_ms": "31.19",
            "mean_tpot_ms": "3.33",
            "p99_itl_ms": "10.96",
        }
    ],
    "vllm_serve_appended": [
        {"request_throughput": "17.81", "mean_ttft_ms": "16.38", "p99_ttft_ms": "19.77", "p99_itl_ms": "3.20"},
        {"request_throughput": "32.57", "mean_ttft_ms": "13.87", "p99_ttft_ms": "14.61", "p99_itl_ms": "3.62"},
    ],
    "vllm_serve_chat": [
        {"request_throughput": "158.08", "output_throughput": "1264.62", "mean_ttft_ms": "26.38", "p99_tpot_ms": "3.10"}
    ],
    "vllm_serve_some_failed": [
        {"completed": "9", "failed": "3", "request_throughput": "20.47", "p99_ttft_ms": "37.19", "p99_e2el_ms": "37.23"}
    ],
    "guidellm_two": [
        {
            "completed": "12",
            "request_throughput": "25.4",
            "input_throughput": "1134.2",
            "output_throughput": "203.1",
            "total_token_throughput": "1337.3",
            "mean_ttft_ms": "14.3",
            "median_ttft_ms": "13.2",
            "p95_ttft_ms": "17.1",
            "mean_tpot_ms": "2.8",
            "median_tpot_ms": "2.9",
        },
        {
            "completed": "12",
            "request_throughput": "58.1",
            "output_throughput": "464.6",
            "total_token_throughput": "3043.9",
            "mean_ttft_ms": "18.4",
            "p95_ttft_ms": "30.7",
            "mean_tpot_ms": "2.5",
            "p95_tpot_ms": "3.1",
        },
    ],
    "guidellm_poisson": [
        {
            "request_throughput": "23.9",
            "input_throughput": "1065.9",
            "output_throughput": "190.9",
            "total_token_throughput": "1256.8",
            "mean_ttft_ms": "14.1",
            "median_ttft_ms": "14.4",
            "p95_ttft_ms": "15.0",
            "p95_tpot_ms": "3.2",
        }
    ],
    "guidellm_some_failed": [{"completed": "9", "failed": "3", "mean_ttft_ms": "12.0", "p95_tpot_ms": "3.3"}],
    "aiperf_ok": [
        {
            "completed": "12",
            "duration_s": "0.51",
            "request_throughput": "20.14",
            "input_throughput": "746.76",
            "output_throughput": "161.10",
            "mean_ttft_ms": "16.66",
            "median_ttft_ms": "15.07",
            "p90_ttft_ms": "22.09",
            "p99_ttft_ms": "30.42",
            "max_ttft_ms": "31.44",
            "std_ttft_ms": "5.42",
            "mean_e2el_ms": "37.61",
            "p99_e2el_ms": "47.96",
            "mean_tpot_ms": "2.99",
            "p90_tpot_ms": "3.55",
        }
    ],
    "aiperf_some_failed": [
        {
            "completed": "6",
            "failed": "6",
            "duration_s": "0.28",
            "request_throughput": "17.58",
            "output_throughput": "140.61",
            "mean_ttft_ms": "22.10",
            "p99_e2el_ms": "62.80",
            "mean_tpot_ms": "2.69",
        }
    ],
}


def read(name: str) -> list[Result]:
    return formats.read_foreign_results(DATA / f"{name}.json")


@pytest.mark.parametrize("name", PRINTED)
def test_figures_are_those_that_the_tool_printed(name: str) -> None:
    results = read(name)
    assert len(results) == len(PRINTED[name])
    for result, printed in zip(results, PRINTED[name], strict=True):
        shown = {}
        for key, text in printed.items():
            value = result.value(key)
            assert value is not None, key
            shown[key] = f"{value:.{len(text.partition('.')[2])}f}"
        assert shown == printed


@pytest.mark.parametrize(
    ("name", "label", "rate"),
    [
        ("vllm_serve", "qps=20", 20.0),
        ("guidellm_poisson", "qps=20", 20.0),
        ("aiperf_some_failed", "concurrency=2", "inf"),
    ],
)
def test_a_result_names_its_load_and_key_metrics(name: str, label: str, rate: object) -> None:
    [result] = read(name)
    assert (result.load_label, formats.request_rate(result)) == (label, rate)
    assert "p99_ttft_ms" in result.key_metrics


def test_every_file_reads_writes_and_matches_the_schema(tmp_path: Path) -> None:
    for file in sorted(DATA.glob("*.json")):
        for i, result in enumerate(formats.read_foreign_results(file)):
            directory = tmp_path / f"{file.stem}-{i}"
            result.write(directory)
            assert Result.read(directory).to_json() == result.to_json()
            assert result.model == "mock" and result.script == "serving"
            assert all(math.isfinite(metric.value) for metric in result.metrics.values())


@pytest.mark.parametrize("name", ["vllm_serve_failed", "guidellm_failed"])
def test_a_run_whose_requests_all_failed_has_no_metrics(name: str) -> None:
    [result] = read(name)
    assert result.status == "failed" and result.verdict is Verdict.INVALID
    assert result.metrics == {} and "requests failed" in result.reasons[0].text


@pytest.mark.parametrize("name", ["vllm_serve_some_failed", "guidellm_some_failed", "aiperf_some_failed"])
def test_a_run_with_many_failed_requests_is_invalid(name: str) -> None:
    [result] = read(name)
    assert result.verdict is Verdict.INVALID and result.reasons[0].check == "failed_fraction"


def test_a_chat_file_has_no_itl_and_says_that_ttft_may_be_early() -> None:
    [result] = read("vllm_serve_chat")
    assert not any(key.endswith("itl_ms") for key in result.metrics)
    assert result.value("mean_ttft_ms") is not None and "role-only" in result.warnings[0]


def test_guidellms_time_per_output_token_is_not_tpot_and_it_has_no_itl() -> None:
    for result in read("guidellm_two"):
        assert not any(key.endswith("itl_ms") for key in result.metrics)
        tpot = result.value("mean_tpot_ms")
        assert tpot is not None and tpot < 3.5  # its own "TPOT", with the first token, is above 4 ms


def test_aiperfs_gaps_between_chunks_are_our_itl() -> None:
    [result] = read("aiperf_ok")
    itl, spread = result.value("p99_itl_ms"), result.value("p99_tpot_ms")
    assert itl == pytest.approx(8.366, abs=1e-3) and spread == pytest.approx(3.64, abs=0.01)


def test_points_of_one_file_differ_and_the_same_file_gives_the_same_ids() -> None:
    first, second = read("guidellm_two")
    assert first.point_key != second.point_key and first.run_id != second.run_id
    assert [(r.run_id, r.point_key) for r in read("guidellm_two")] == [(r.run_id, r.point_key) for r in (first, second)]


def test_a_mean_of_zero_is_left_out(tmp_path: Path) -> None:
    data = json.loads((DATA / "vllm_serve.json").read_text())
    data |= {key: 0.0 for key in data if key.endswith(("_tpot_ms", "_itl_ms"))}
    file = tmp_path / "one_token.json"
    file.write_text(json.dumps(data))
    [result] = formats.read_foreign_results(file)
    assert not any("tpot" in key or "itl" in key for key in result.metrics)
    assert result.value("mean_ttft_ms") is not None


def nm_vllm(**changed: Any) -> dict[str, Any]:
    """A result as nm-vllm's ``BenchmarkResult`` stores it."""
    return {
        "json_schema_version": "0.0.0",
        "vllm_version": "0.1.0",
        "benchmarking_context": {
            "vllm_version": "0.1.0",
            "python_version": "3.10.12 (main, Nov 20 2023) [GCC 11.4.0]",
            "torch_version": "2.1.2+cu121",
            "torch_cuda_version": "12.1",
            "cuda_devices": "[_CudaDeviceProperties(name='NVIDIA A10G')]",
            "cuda_device_names": ["NVIDIA A10G"],
        },
        "description": "VLLM Serving - Dense",
        "gpu_description": "NVIDIA A10G x 1",
        "date": "2024-04-01 12:00:00 UTC",
        "epoch_time": 1711972800.0,
        "script_name": "benchmark_serving.py",
        "tensor_parallel_size": 1,
        "model": "mistralai/Mistral-7B-Instruct-v0.2",
        "tokenizer": "mistralai/Mistral-7B-Instruct-v0.2",
        "dataset": "sharegpt",
        "script_args": {"nr_qps_pair_": [300, "1.0"], "seed": 0, "port": 8000},
        "metadata": {
            "completed": 300,
            "duration": 301.5,
            "total_input": 65000,
            "total_output": 60000,
            "num_prompts": 300,
            "request_rate": 1.0,
        },
        "metrics": {
            "mean_ttft_ms": {"key": "mean_ttft_ms", "unit": "ms", "value": 78.5, "type": "SmallerIsBetter"},
            "mean_tpot_ms": {"key": "mean_tpot_ms", "unit": "ms", "value": 31.25, "type": "SmallerIsBetter"},
            "p99_request_latency": {"key": "p99_request_latency", "unit": "ms", "value": 9000.0, "type": "Observation"},
        },
        **changed,
    }


def stored(directory: Path, data: dict[str, Any]) -> Result:
    file = directory / "nm.json"
    file.write_text(json.dumps(data))
    [result] = formats.read_foreign_results(file)
    return result


def test_nm_vllms_result(tmp_path: Path) -> None:
    result = stored(tmp_path, nm_vllm())
    assert result.verdict is Verdict.VALID and result.script == "serving" and result.engine_version == "0.1.0"
    assert {key: result.value(key) for key in ("mean_ttft_ms", "mean_tpot_ms", "p99_e2el_ms")} == {
        "mean_ttft_ms": 78.5,
        "mean_tpot_ms": 31.25,
        "p99_e2el_ms": 9000.0,
    }
    assert result.metrics["mean_ttft_ms"].better is Better.SMALLER and "BOS" in result.warnings[0]
    assert result.environment["gpus"] == [{"name": "NVIDIA A10G"}] and result.epoch_time == 1711972800.0
    later = stored(tmp_path, nm_vllm(epoch_time=1712059200.0, vllm_version="0.2.0"))
    assert later.point_key == result.point_key and later.run_id != result.run_id
    other = stored(tmp_path, nm_vllm(script_args={"nr_qps_pair_": [1500, "5.0"]}))
    assert other.point_key != result.point_key


def test_nm_vllms_nan_is_absent(tmp_path: Path) -> None:
    nan = {"mean_ttft_ms": {"key": "mean_ttft_ms", "unit": "ms", "value": math.nan, "type": "SmallerIsBetter"}}
    result = stored(tmp_path, nm_vllm(metrics=nan, metadata={"completed": 0, "num_prompts": 300, "total_output": 0}))
    assert result.verdict is Verdict.INVALID and result.metrics == {}
    assert result.failures == {"failed": 300}


def test_vllms_offline_result(tmp_path: Path) -> None:
    file = tmp_path / "throughput.json"
    figures = {"elapsed_time": 4.0, "num_requests": 8, "total_num_tokens": 1200}
    file.write_text(json.dumps({**figures, "requests_per_second": 2.0, "tokens_per_second": 300.0}))
    [result] = formats.read_foreign_results(file)
    assert result.script == "throughput" and "no date" in result.warnings[0]
    assert result.value("request_throughput") == 2.0 and result.value("total_token_throughput") == 300.0


BROKEN = [
    ("{", "neither JSON nor one JSON object a line"),
    ("[1]", "is in no known format"),
    ('{"some": "thing"}', "is in no known format"),
    ('{"aiperf_version": "1"}', "looks like aiperf, but cannot be read"),
    ('{"benchmarks": [{}], "metadata": {"guidellm_version": "1"}}', "looks like guidellm, but cannot be read"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "broken.json"
    file.write_text(text)
    with pytest.raises(ResultError, match=message) as caught:
        formats.read_foreign_results(file)
    assert "broken.json" in caught.value.message and "\n" not in caught.value.message
