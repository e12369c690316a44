"""Importers of tools that were not run here: the files have the form that these tools write, and our figures."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchhydra import formats
from benchhydra.errors import ResultError
from benchhydra.result import Better, Result, Verdict

VLLM_0_9: dict[str, Any] = {
    "date": "20250530-203806",
    "backend": "vllm",
    "model_id": "org/model",
    "tokenizer_id": "org/model",
    "num_prompts": 300,
    "gpu": "4xL40S",  # a --metadata of the user's
    "request_rate": 10.0,
    "burstiness": 1.0,
    "max_concurrency": None,
    "duration": 36.0,
    "completed": 300,
    "total_input_tokens": 299_700,
    "total_output_tokens": 81_000,
    "request_throughput": 8.33,
    "request_goodput:": 7.5,
    "output_throughput": 2250.0,
    "total_token_throughput": 10_575.0,
    "mean_ttft_ms": 54.5,
    "p99_ttft_ms": 89.8,
    "mean_tpot_ms": 13.6,
}
AIPERF_0_8: dict[str, Any] = {
    "schema_version": "1.1",
    "aiperf_version": "0.8.0",
    "request_throughput": {"unit": "requests/sec", "avg": 9.89},
    "request_latency": {"unit": "ms", "avg": 1320.99, "p50": 1265.6, "p99": 2409.0},
    "request_count": {"unit": "requests", "avg": 30.0},
    "time_to_first_token": {"unit": "ms", "avg": 336.8, "p99": 812.4},
    "inter_token_latency": {"unit": "ms", "avg": 30.1},
    "benchmark_duration": {"unit": "sec", "avg": 3.03},
}
SGLANG: dict[str, Any] = {
    "tag": "nightly",
    "backend": "sglang",
    "dataset_name": "random",
    "request_rate": 4.0,
    "max_concurrency": 24,
    "sharegpt_output_len": None,
    "random_input_len": 1024,
    "random_output_len": 256,
    "random_range_ratio": 0.0,
    "server_info": {"model_path": "org/model", "tp_size": 2},
    "duration": 60.0,
    "completed": 240,
    "total_input_tokens": 245_760,
    "total_output_tokens": 61_440,
    "total_output_tokens_retokenized": 61_400,
    "request_throughput": 4.0,
    "input_throughput": 4096.0,
    "output_throughput": 1024.0,
    "total_throughput": 5120.0,
    "mean_e2e_latency_ms": 2667.1,
    "median_e2e_latency_ms": 2660.5,
    "std_e2e_latency_ms": 58.4,
    "p99_e2e_latency_ms": 3905.0,
    "mean_ttft_ms": 180.9,
    "p99_ttft_ms": 400.2,
    "mean_tpot_ms": 9.7,
    "median_itl_ms": 9.1,
    "p95_itl_ms": 12.0,
    "max_itl_ms": 25.0,
    "concurrency": 10.7,
    "accept_length": None,
}
SPREAD = {"mean": 0.0669, "min": 0.0307, "p10": 0.0436, "median": 0.0606, "p90": 0.094, "max": 0.1692}
INFERENCE_PERF: dict[str, Any] = {
    "load_summary": {"count": 360, "schedule_delay": SPREAD, "send_duration": 60.0, "requested_rate": 6.0},
    "successes": {
        "count": 357,
        "latency": {
            "request_latency": {"mean": 3.481, "median": 1.722, "p99": 17.0},
            "normalized_time_per_output_token": SPREAD,
            "time_per_output_token": {"mean": 0.00917},
            "time_to_first_token": SPREAD,
            "inter_token_latency": {"mean": 0.0093, "p90": 0.0182},
        },
        "throughput": {
            "input_tokens_per_sec": 1441.3,
            "output_tokens_per_sec": 933.5,
            "total_tokens_per_sec": 2374.8,
            "requests_per_sec": 5.1,
        },
        "prompt_len": {"mean": 279.0},
        "output_len": {"mean": 180.0},
    },
    "failures": {"count": 3, "request_latency": None, "prompt_len": None},
}
GENAI_BENCH: dict[str, Any] = {
    "aggregated_metrics": {
        "scenario": "D(100,100)",
        "num_concurrency": 8,
        "mean_output_throughput_tokens_per_s": 54.9,
        "mean_input_throughput_tokens_per_s": 46.8,
        "mean_total_tokens_throughput_tokens_per_s": 101.7,
        "mean_total_chars_per_hour": 1_598_123.1,
        "requests_per_minute": 32.0,
        "error_codes_frequency": {},
        "error_rate": 0,
        "num_error_requests": 0,
        "num_completed_requests": 32,
        "num_requests": 32,
        "stats": {
            "ttft": {
                "min": 0.0319,
                "max": 0.6695,
                "mean": 0.0524,
                "stddev": 0.1108,
                "sum": 1.675,
                "p50": 0.0324,
                "p99": 0.4723,
            },
            "tpot": {"min": 0.0178, "max": 0.0186, "mean": 0.0179, "stddev": 0.0001, "sum": 0.573, "p50": 0.0179},
            "e2e_latency": {"mean": 1.8436, "p50": 1.8213, "p90": 1.8223, "p95": 1.8225, "p99": 2.3114},
            "num_input_tokens": {"mean": 90.7, "sum": 2903},
            "num_output_tokens": {"mean": 100.0, "sum": 3200},
        },
    },
    "individual_request_metrics": [],
}
LLMD_0_1: dict[str, Any] = {
    "version": "0.1",
    "scenario": {
        "description": "heterogeneous",
        "host": {"type": ["replica"], "accelerator": [{"model": "H100", "count": 1}]},
        "model": {"name": "org/model"},
        "load": {"name": "inference-perf", "type": "long-input", "args": {"qps_values": 1.34}},
    },
    "metrics": {
        "time": {"duration": 16.5, "start": 1749570583.5, "stop": 1749570600.0},
        "requests": {"total": 32, "failures": 0, "incomplete": 1},
        "latency": {
            "request_latency": {"units": "ms", "mean": 3313.0, "stddev": 1.9, "p50": 2115.0, "p90": 5947.0},
            "time_per_output_token": {"units": "ms/token", "mean": 83.7},
            "time_to_first_token": {"units": "ms", "mean": 801.0, "p50": 203.5},
            "inter_token_latency": {"units": "ms/token", "mean": 83.7, "p90": 84.0},
        },
        "throughput": {
            "input_tokens_per_sec": 643.6,
            "output_tokens_per_sec": 32.5,
            "total_tokens_per_sec": 676.1,
            "requests_per_sec": 1.02,
        },
    },
}
LLMD_0_2: dict[str, Any] = {
    "version": "0.2",
    "run": {
        "uid": "38b1f169",
        "time": {"start": "2025-11-05T18:00:42Z", "end": "2025-11-05T18:01:32Z", "duration": "PT1M49.97S"},
    },
    "scenario": {
        "load": {
            "standardized": {"tool": "guidellm", "rate_qps": 10.0, "concurrency": 4, "input_seq_len": {"value": 2148}}
        },
        "stack": [{"standardized": {"kind": "inference_engine", "model": {"name": "org/model"}}}],
    },
    "results": {
        "request_performance": {
            "aggregate": {
                "requests": {"total": 500, "failures": 20},
                "latency": {
                    "time_to_first_token": {"mean": 0.0369, "p99": 0.0503, "units": "s"},
                    "time_per_output_token": {"mean": 0.04, "units": "s/token"},
                    "inter_token_latency": {"mean": 0.03, "units": "s/token"},
                },
                "throughput": {
                    "request_rate": {"mean": 4.5, "units": "queries/s"},
                    "output_token_rate": {"mean": 2262.4, "units": "tokens/s"},
                },
            }
        }
    },
}
FORMS: dict[str, tuple[dict[str, Any], dict[str, float], str]] = {
    "vllm 0.9": (
        VLLM_0_9,
        {"request_goodput": 7.5, "mean_ttft_ms": 54.5, "p99_ttft_ms": 89.8, "failed": 0, "input_throughput": 8325.0},
        "qps=10",
    ),
    "aiperf 0.8": (
        AIPERF_0_8,
        {"mean_e2el_ms": 1320.99, "median_e2el_ms": 1265.6, "mean_tpot_ms": 30.1, "completed": 30, "duration_s": 3.03},
        "",
    ),
    "sglang": (
        SGLANG,
        {"mean_e2el_ms": 2667.1, "mean_tpot_ms": 9.7, "p95_itl_ms": 12.0, "total_token_throughput": 5120.0},
        "qps=4",
    ),
    "inference-perf": (
        INFERENCE_PERF,
        {"mean_ttft_ms": 66.9, "median_ttft_ms": 60.6, "p90_itl_ms": 18.2, "p99_e2el_ms": 17_000, "failed": 3},
        "qps=6",
    ),
    "genai-bench": (
        GENAI_BENCH,
        {
            "mean_ttft_ms": 52.4,
            "std_ttft_ms": 110.8,
            "median_e2el_ms": 1821.3,
            "request_throughput": 32 / 60,
            "duration_s": 60,
        },
        "concurrency=8",
    ),
    "llm-d 0.1": (
        LLMD_0_1,
        {"mean_ttft_ms": 801, "mean_tpot_ms": 83.7, "p90_itl_ms": 84, "completed": 31, "request_throughput": 1.02},
        "",
    ),
    "llm-d 0.2": (
        LLMD_0_2,
        {"p99_ttft_ms": 50.3, "mean_tpot_ms": 30, "request_throughput": 4.5, "duration_s": 109.97, "failed": 20},
        "qps=10",
    ),
}


def read(directory: Path, *documents: Any, name: str = "result.json") -> list[Result]:
    path = directory / name
    path.write_text("\n".join(json.dumps(document) for document in documents))
    return formats.read_foreign_results(path)


@pytest.mark.parametrize("form", FORMS)
def test_figures_are_read_in_our_units(tmp_path: Path, form: str) -> None:
    document, figures, label = FORMS[form]
    [result] = read(tmp_path, document)
    assert {key: result.value(key) for key in figures} == {key: pytest.approx(value) for key, value in figures.items()}
    assert (result.status, result.load_label) == ("ok", label)
    result.write(tmp_path)
    assert Result.read(tmp_path).to_json() == result.to_json()


@pytest.mark.parametrize("form", FORMS)
def test_a_file_gives_the_same_run_and_point_each_time(tmp_path: Path, form: str) -> None:
    document = FORMS[form][0]
    (first,) = read(tmp_path, document, name="first.json")
    (again,) = read(tmp_path, document, name="again.json")
    assert (first.run_id, first.point_key) == (again.run_id, again.point_key)


def test_several_lines_of_sglang_are_several_runs(tmp_path: Path) -> None:
    results = read(tmp_path, SGLANG, {**SGLANG, "request_rate": float("inf")}, {**SGLANG, "request_rate": "trace"})
    assert [result.load_label for result in results] == ["qps=4", "concurrency=24", "concurrency=24"]
    assert len({result.point_key for result in results}) == 3
    assert results[0].model == "org/model" and results[0].tensor_parallel_size == 2


def test_sglangs_failures_are_unknown_without_details(tmp_path: Path) -> None:
    (brief,) = read(tmp_path, SGLANG)
    assert brief.value("failed") is None and "how many requests failed" in brief.warnings[0]
    (detailed,) = read(tmp_path, {**SGLANG, "errors": ["", "timed out"] * 20})
    assert detailed.value("failed") == 20 and detailed.verdict is Verdict.INVALID


def test_older_vllm_names_the_api_by_its_backend(tmp_path: Path) -> None:
    (chat,) = read(tmp_path, {**VLLM_0_9, "backend": "openai-chat", "mean_itl_ms": 9.0})
    (completions,) = read(tmp_path, VLLM_0_9)
    assert "role-only" in chat.warnings[0] and chat.value("mean_itl_ms") is None
    assert chat.point_key != completions.point_key


def test_a_summary_of_inference_perf_mixes_rates(tmp_path: Path) -> None:
    load = {"count": 360, "schedule_delay": SPREAD}
    (summary,) = read(tmp_path, {**INFERENCE_PERF, "load_summary": load})
    assert "several rates are mixed" in summary.warnings[0]


def test_llmds_tpot_is_read_only_where_its_definition_is_known(tmp_path: Path) -> None:
    scenario = {**LLMD_0_1["scenario"], "load": {"name": "newtool"}}
    (result,) = read(tmp_path, {**LLMD_0_1, "scenario": scenario})
    assert result.value("mean_tpot_ms") is None and result.value("mean_itl_ms") is None
    assert any("newtool" in warning for warning in result.warnings)
    assert result.value("mean_ttft_ms") == 801


@pytest.mark.parametrize("document", [LLMD_0_1, LLMD_0_2])
def test_llmds_report_is_yaml_too(tmp_path: Path, document: dict[str, Any]) -> None:
    (as_json,) = read(tmp_path, document)
    (tmp_path / "report.yaml").write_text(yaml.safe_dump(document))
    (as_yaml,) = formats.read_foreign_results(tmp_path / "report.yaml")
    assert as_yaml.metrics == as_json.metrics and as_yaml.point_key == as_json.point_key
    assert as_yaml.epoch_time == as_json.epoch_time


#: (file with a key that no importer knows, words of the warning).
UNKNOWN: list[tuple[dict[str, Any], str]] = [
    (VLLM_0_9, "gpu=4xL40S"),
    ({**VLLM_0_9, "p99.9_new_ms": 1.0}, "p99.9_new_ms"),
    ({**AIPERF_0_8, "new_metric": {"unit": "ms", "avg": 1.0}}, "new_metric"),
    ({**SGLANG, "mean_new_ms": 1.0}, "mean_new_ms"),
    ({**INFERENCE_PERF, "successes": {**INFERENCE_PERF["successes"], "newer": 1}}, "newer=1"),
    ({**GENAI_BENCH, "aggregated_metrics": {**GENAI_BENCH["aggregated_metrics"], "newer": 1}}, "newer=1"),
    ({**VLLM_0_9, "mean_tpot_ms": float("nan")}, "left out: mean_tpot_ms"),
]


@pytest.mark.parametrize(("document", "words"), UNKNOWN)
def test_what_is_not_converted_is_named(tmp_path: Path, document: dict[str, Any], words: str) -> None:
    (result,) = read(tmp_path, document)
    assert any(words in warning for warning in result.warnings)


def test_any_percentile_of_vllm_is_converted(tmp_path: Path) -> None:
    (result,) = read(tmp_path, {**VLLM_0_9, "p99.9_ttft_ms": 91.5, "p25_tpot_ms": 7.25})
    assert not any("p99.9" in warning or "p25" in warning for warning in result.warnings)
    values = [result.metrics[name] for name in ("p99.9_ttft_ms", "p25_tpot_ms")]
    assert [(m.value, m.unit, m.better) for m in values] == [
        (91.5, "ms", Better.SMALLER),
        (7.25, "ms", Better.SMALLER),
    ]


def test_a_file_without_a_date_is_dated_by_its_modification(tmp_path: Path) -> None:
    (result,) = read(tmp_path, SGLANG)
    assert result.epoch_time == (tmp_path / "result.json").stat().st_mtime
    assert "no date" in result.warnings[-1]


def test_impossible_figures_are_invalid(tmp_path: Path) -> None:
    (result,) = read(tmp_path, {**VLLM_0_9, "mean_ttft_ms": -3.0})
    assert result.verdict is Verdict.INVALID and "mean_ttft_ms is -3" in result.reasons[0].text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"", "a.json is empty"),
        ("a.json", b"\xff\xfe{", "byte 0 is not UTF-8"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.json", b'{"a": 1' + b"0" * 5000 + b"}", "not JSON that can be read"),
        ("a.jsonl", b'{"a": 1}\n{', "a.jsonl:2: neither JSON"),
        ("a.yaml", b"a: [", "not YAML"),
        ("a.yaml", b"a: &x [1]\nb: [*x, *x]", "has aliases"),
        ("a.json", json.dumps({**VLLM_0_9, "mean_ttft_ms": "fast"}).encode(), "mean_ttft_ms is 'fast', not a number"),
        (
            "a.json",
            json.dumps({**VLLM_0_9, "completed": None}).encode(),
            "looks like vllm bench serve, but cannot be read",
        ),
        ("a.json", json.dumps({**SGLANG, "server_info": 7}).encode(), "looks like sglang"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ResultError, match=message) as caught:
        formats.read_foreign_results(tmp_path / name)
    assert name in caught.value.message and "\n" not in caught.value.message


def test_gzip_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + json.dumps(VLLM_0_9).encode()))
    (result,) = formats.read_foreign_results(tmp_path / "a.json.gz")
    assert result.value("mean_ttft_ms") == 54.5


scalars = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=5)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(sorted(FORMS)), data=st.data())
def test_any_damage_is_a_result_or_one_line(tmp_path: Path, form: str, data: st.DataObject) -> None:
    """Replace or delete a value at a random place of a file."""
    document = json.loads(json.dumps(FORMS[form][0]))
    parent, key = document, data.draw(st.sampled_from(sorted(document)))
    while isinstance(parent[key], dict) and parent[key] and data.draw(st.booleans()):
        parent = parent[key]
        key = data.draw(st.sampled_from(sorted(parent)))
    if data.draw(st.booleans()):
        del parent[key]
    else:
        parent[key] = data.draw(values)
    try:
        for result in read(tmp_path, document):
            result.write(tmp_path / "out")
    except ResultError as error:
        assert "\n" not in error.message
