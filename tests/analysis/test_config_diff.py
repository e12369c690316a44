from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchhydra.analysis.config_diff import config_differences
from benchhydra.analysis.runs import Run
from benchhydra.result import Verdict


def run(directory: Path | None, result: dict[str, Any] | None = None, **more: Any) -> Run:
    if directory is not None and result is not None:
        directory.mkdir()
        (directory / "result.json").write_text(json.dumps(result))
    fields: dict[str, Any] = {
        "run_id": "a",
        "point_key": "k",
        "verdict": Verdict.VALID,
        "status": "ok",
        "epoch_time": 1.0,
    }
    return Run(**fields | {"source": f"{directory}/result.json" if directory else ""} | more)


def test_keys_versions_and_packages(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "qps": 1.0,
        "engine": {"args": {"a": 1}, "env": {}},
        "repeat": 0,
        "sweep": {"plan": False},
    }
    base = run(tmp_path / "a", {"config": config, "environment": {"packages": {"numpy": "2.0"}}}, engine_version="0.5")
    other = {
        "qps": 1.0,
        "engine": {"args": {"a": 2, "long": "x" * 99}, "env": {}},
        "repeat": 3,
        "sweep": {"plan": True},
    }
    candidate = run(tmp_path / "b", {"config": other, "environment": {"packages": {"numpy": "2.1"}}})
    assert config_differences(base, candidate).settings == (
        "engine version: 0.5 -> -",
        "engine.args.a: 1 -> 2",
        f"engine.args.long: - -> {'x' * 59}…",
        "package numpy: 2.0 -> 2.1",
    )
    assert config_differences(base, base) == ((), ())


def test_runs_without_a_directory_have_their_keys_compared() -> None:
    assert config_differences(run(None), run(None, point_key="l")).settings == ("point key: k -> l",)


def test_a_missing_config_file_is_named(tmp_path: Path) -> None:
    (line,) = config_differences(run(tmp_path / "a", {}), run(tmp_path / "b")).settings
    assert line.startswith("configurations are not compared: cannot read") and "result.json" in line


def test_configs_of_version_0_1_are_read_under_todays_names(tmp_path: Path) -> None:
    old: dict[str, Any] = {
        "qps": 1.0,
        "script": {"api": "completions", "slo": {}, "stream": True},
        "sweep": {"ci": None},
        "validity": {"failed_share": 0.01, "lag_ms": 5.0},
    }
    new: dict[str, Any] = {
        "qps": 1.0,
        "script": {"stream": True},
        "api": {"name": "chat"},
        "slo": {"ttft_ms": None, "tpot_ms": None},
        "search": {"name": "grid"},
        "probes": {"interval_s": 0.25, "off": []},
        "sweep": {},
        "validity": {"failed_fraction": 0.02, "lag_ms": 5.0},
    }
    base, candidate = run(tmp_path / "a", {"config": old}), run(tmp_path / "b", {"config": new})
    assert config_differences(base, candidate).settings == (
        "api.name: completions -> chat",
        "validity.failed_fraction: 0.01 -> 0.02",
    )


def test_of_two_engines_only_what_both_have_or_the_user_has_set_is_listed(tmp_path: Path) -> None:
    base = run(
        tmp_path / "a",
        {"config": {"engine": {"name": "vllm", "cpu_kv_cache_gib": 1, "stop_timeout_s": 20.0}}, "metadata": {}},
        engine_version="0.32",
    )
    metadata = {"overrides": ["engine=llamacpp", "engine.slots=8"], "weights": "Q4_K_M"}
    engine = {"name": "llamacpp", "slots": 8, "program": [], "stop_timeout_s": 9.0, "args": {"threads": 2}}
    candidate = run(tmp_path / "b", {"config": {"engine": engine}, "metadata": metadata}, engine_version="b1")
    differences = config_differences(base, candidate)
    assert differences.settings == (
        "engine: vllm 0.32 -> llamacpp b1",
        "engine.args.threads: - -> 2",  # of an experiment's file: nobody typed it
        "engine.slots: - -> 8",
        "engine.stop_timeout_s: 20.0 -> 9.0",
    )
    assert differences.definitions == ()  # the base does not say what its weights are
