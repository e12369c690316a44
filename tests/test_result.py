"""``result.json`` holds, survives, and refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchhydra.errors import ResultError
from benchhydra.result import (
    NOT_IDENTITY,
    SCHEMA_VERSION,
    Better,
    MetricValue,
    Reason,
    Result,
    Verdict,
    flatten,
    point_key,
)

CONFIG: dict[str, Any] = {
    "script": {"api": "chat", "fail_on": "invalid"},
    "engine": {"args": {"max_num_seqs": 64}, "python": "/a/bin/python", "env": {}},
    "qps": float("inf"),
    "seed": 0,
    "tracking": {"uri": None},
}


def made(**changes: Any) -> Result:
    fields: dict[str, Any] = {
        "status": "ok",
        "verdict": Verdict.SUSPECT,
        "reasons": (Reason(check="late", severity=Verdict.SUSPECT, text="late by 3 ms"),),
        "run_id": "0" * 32,
        "point_key": "0" * 16,
        "script": "serving",
        "config": CONFIG,
        "epoch_time": 1_700_000_000.0,
        "metrics": {"p99_ttft_ms": MetricValue(key="p99_ttft_ms", unit="ms", value=12.5, better=Better.SMALLER)},
        "environment": {"packages": {"python": "3.11"}, "git": {"commit": "abc"}},
    }
    return Result(**{**fields, **changes})


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    made().write(tmp_path)
    back = Result.read(tmp_path)
    assert back.verdict is Verdict.SUSPECT
    assert back.reasons == made().reasons
    assert back.metrics == made().metrics
    assert back.config["qps"] == "inf"  # JSON has no infinity


def test_the_format_is_a_superset_of_nm_vllms(tmp_path: Path) -> None:
    data = json.loads(made().write(tmp_path).read_text())
    assert data["json_schema_version"] == SCHEMA_VERSION == "1.4.0"
    nm_vllms = {"benchmarking_context", "description", "date", "epoch_time", "script_name", "tensor_parallel_size"}
    assert nm_vllms | {"model", "tokenizer", "dataset", "script_args", "metadata", "metrics"} <= set(data)
    assert data["metrics"]["p99_ttft_ms"] == {
        "key": "p99_ttft_ms",
        "unit": "ms",
        "value": 12.5,
        "type": "SmallerIsBetter",
    }


def test_names_and_units_of_schema_1_0_are_read_under_their_new_names(tmp_path: Path) -> None:
    data = json.loads(made().write(tmp_path).read_text())
    data["json_schema_version"] = "1.0.0"
    for key in ("key_metrics", "charts", "load_label"):
        data.pop(key, None)
    for key, unit in (("p50_ttft_with_failures_ms", "ms"), ("request_throughput", "prompts/s")):
        data["metrics"][key] = {"key": key, "unit": unit, "value": 3.0, "type": "BiggerIsBetter"}
    back = Result.from_json(data)
    assert back.value("median_ttft_with_failures_ms") == 3.0 and "p50_ttft_with_failures_ms" not in back.metrics
    assert back.metrics["request_throughput"].unit == "requests/s"
    assert "p99_ttft_ms" in back.key_metrics and ("achieved_rps", "p99_ttft_ms") in back.charts


def test_unknown_is_absent(tmp_path: Path) -> None:
    text = made(wall_s=None, engine_version=None).write(tmp_path).read_text()
    assert "null" not in text and "NaN" not in text and "Infinity" not in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_not_a_number_is_refused(value: float, tmp_path: Path) -> None:
    bad = {"m": MetricValue(key="m", unit="ms", value=value, better=Better.SMALLER)}
    with pytest.raises(ResultError):
        made(metrics=bad).write(tmp_path)
    assert not (tmp_path / "result.json").exists()


def test_figures_and_names_of_numpy_are_written(tmp_path: Path) -> None:
    """Their types derive from Python's own, as those of some options do."""
    metric = MetricValue(key="m", unit="ms", value=np.float64(1.5), better=Better.SMALLER)
    names = {np.str_("names"): [np.str_("a"), Better.SMALLER, 3, True, None], "qps": np.float64("inf")}
    written = made(metrics={"m": metric}, metadata=names)
    written.write(tmp_path)
    again = Result.read(tmp_path)
    assert again.metrics["m"].value == 1.5
    assert again.metadata == {"names": ["a", Better.SMALLER.value, 3, True, None], "qps": "inf"}


@pytest.mark.parametrize("change", [{"verdict": "GREAT"}, {"metrics": {"m": {"key": "m"}}}, {"status": 3}])
def test_a_file_that_breaks_the_schema_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    path = made().write(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ResultError, match="not a benchhydra result"):
        Result.read(path)


def test_a_file_that_is_cut_short_is_one_clear_line(tmp_path: Path) -> None:
    path = made().write(tmp_path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(ResultError, match="is not JSON"):
        Result.read(tmp_path)
    with pytest.raises(ResultError, match="cannot read"):
        Result.read(tmp_path / "elsewhere")


def test_writing_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(description="first").write(tmp_path)

    def dies(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", dies)
    with pytest.raises(KeyboardInterrupt):
        made(description="second").write(tmp_path)
    assert Result.read(tmp_path).description == "first"


def test_an_unwritable_directory_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError, match="cannot write"):
        made().write(tmp_path / "file" / "below")


def test_the_point_key_does_not_depend_on_order_or_on_what_is_no_identity() -> None:
    key = point_key(CONFIG)
    assert point_key(dict(reversed(CONFIG.items()))) == key
    assert point_key({**CONFIG, "seed": 7, "tracking": {"uri": "x"}, "repeat": 3}) == key
    assert point_key({**CONFIG, "engine": {**CONFIG["engine"], "python": "/b/bin/python"}}) == key
    assert point_key({**CONFIG, "qps": 5.0}) != key
    assert point_key({**CONFIG, "engine": {**CONFIG["engine"], "args": {"max_num_seqs": 65}}}) != key
    assert "seed" in NOT_IDENTITY


def test_flatten_keeps_lists_and_empty_objects() -> None:
    assert flatten({"a": {"b": [1], "c": {}}, "d": 2}) == {"a.b": [1], "a.c": {}, "d": 2}
