"""Two engines on one workload: where their figures do not mean the same; and that points keep their keys."""

from __future__ import annotations

from typing import Any

import pytest

from benchhydra.analysis.definition_diff import definition_differences, engine_of
from benchhydra.result import point_key, point_settings


def result(engine: dict[str, Any], weights: str | None = None, **metrics: float) -> dict[str, Any]:
    values = {key: {"key": key, "value": value} for key, value in metrics.items()}
    return {"config": {"engine": engine}, "metrics": values, "metadata": {"weights": weights}}


@pytest.mark.parametrize(
    ("base", "candidate", "words"),
    [
        ({"mean_input_tokens": 100.0}, {"mean_input_tokens": 100.5}, ["defined alike in both: prompt tokens"]),
        ({"mean_input_tokens": 100.0}, {"mean_input_tokens": 112.0}, ["definition of a token", "100 -> 112"]),
        (
            {"mean_output_tokens": 64.0, "chunks_per_request": 64.0},
            {"mean_output_tokens": 64.0, "chunks_per_request": 32.0},
            ["definition of a chunk", "1 -> 2"],
        ),
        (
            {"server_prefix_hit_fraction": 0.0},
            {"server_prefix_hit_fraction": 0.25},
            ["prefix cache: 0% -> 25%"],
        ),
        ({}, {"mean_input_tokens": 1.0}, []),
        ({"weights": "float32"}, {"weights": "Q4_K_M"}, ["weights: float32 -> Q4_K_M"]),
        ({"weights": "BF16"}, {"weights": "bf16"}, ["defined alike in both: weights"]),
        ({"weights": "BF16"}, {}, []),
        ({"weights": "bfloat16"}, {"weights": "BF16"}, ["defined alike in both: weights"]),
        ({"weights": "half"}, {"weights": "F16"}, ["defined alike in both: weights"]),
        ({"weights": "float32"}, {"weights": "x" * 99}, [f"float32 -> {'x' * 60}, so"]),
    ],
)
def test_definitions_that_differ_are_named(base: dict[str, Any], candidate: dict[str, Any], words: list[str]) -> None:
    lines = definition_differences(result({"name": "vllm"}, **base), result({"name": "llamacpp"}, **candidate))
    assert bool(lines) is bool(words)
    assert all(word in " ".join(lines) for word in words)
    assert definition_differences(result({"name": "vllm"}, **base), result({"name": "vllm"}, **candidate)) == ()


def test_the_engine_of_a_result_is_known_by_its_name_or_by_its_keys() -> None:
    assert engine_of(result({"name": "sglang", "python": None})) == "sglang"
    assert engine_of(result({"cpu_kv_cache_gib": 1, "python": None})) == "vllm"
    assert engine_of(result({"python": None})) is None
    assert engine_of(result({"name": 5})) is None


def test_the_engines_of_before_keep_their_point_keys_and_new_ones_are_told_apart() -> None:
    old, new = {"engine": {"cpu_kv_cache_gib": 1}}, {"engine": {"name": "vllm", "cpu_kv_cache_gib": 1}}
    assert point_key(old) == point_key(new)
    assert point_settings(old) == point_settings(new)
    assert point_key({"engine": {"name": "sglang"}}) != point_key({"engine": {"name": "transformers"}})
