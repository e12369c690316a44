"""What the benchmarks of searches conclude from their figures."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_answers_without_an_interval_are_not_told_apart(benchmark_module: Any) -> None:
    are_apart = benchmark_module("search_on_vllm").are_apart
    first = {"value": 50.0, "low": 48.0, "high": 52.0}
    assert are_apart(first, {"value": 60.0, "low": 58.0, "high": 62.0})
    assert not are_apart(first, {"value": 52.0, "low": 51.0, "high": 53.0})
    assert not are_apart(first, {"value": 60.0, "low": 60.0, "high": None})
    assert not are_apart(first, {"error": "no answer"})


def test_a_method_needs_no_more_than_its_shortest_runs_with_a_small_error(benchmark_module: Any) -> None:
    module = benchmark_module("search_side_by_side")
    summaries = [module.Summary(5, 1000 * 4**k, 10.0 * 4**k, 0.04 / 2**k, 0.1) for k in range(3)]
    assert module.at_error(summaries, 0.05) == (1000, 10.0)
    assert module.at_error(summaries, 0.02) == pytest.approx((4000, 40.0))
    assert module.at_error(summaries, 0.005) is None
