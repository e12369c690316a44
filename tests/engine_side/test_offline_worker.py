"""Times of first tokens, from what vLLM's outputs carry: V1's monotonic times, V0's wall clock, or nothing."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from benchhydra.probes.server_metrics import parse_published

ENGINE_SIDE = Path(__file__).resolve().parents[2] / "src/benchhydra/engine_side"


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program as a module; it imports vLLM only when it makes an engine."""
    monkeypatch.syspath_prepend(str(ENGINE_SIDE))
    return importlib.import_module("offline_worker")


def outputs(*metrics: Any) -> list[SimpleNamespace]:
    return [SimpleNamespace(metrics=one) for one in metrics]


def test_v1_tells_monotonic_times(worker: ModuleType) -> None:
    given = outputs(SimpleNamespace(first_token_ts=12.5), SimpleNamespace(first_token_ts=13.0))
    assert worker.first_token_times(given) == {"first_ns": [12_500_000_000, 13_000_000_000]}


def test_v0_tells_wall_clock_times(worker: ModuleType) -> None:
    now_ns = time.monotonic_ns()
    (first_ns,) = worker.first_token_times(outputs(SimpleNamespace(first_token_time=time.time())))["first_ns"]
    assert abs(first_ns - now_ns) < 1e9


@pytest.mark.parametrize(
    "given",
    [
        outputs(None),
        outputs(SimpleNamespace(first_token_ts=0.0)),
        outputs(SimpleNamespace(first_token_ts=1.0), None),
        outputs(SimpleNamespace(first_token_time=None)),
        [SimpleNamespace()],
    ],
)
def test_what_is_not_told_for_all_is_unknown(worker: ModuleType, given: list[SimpleNamespace]) -> None:
    assert worker.first_token_times(given) == {}


class Gauge(SimpleNamespace):
    """As vLLM's class of this name."""


def test_metrics_have_the_names_of_a_server(worker: ModuleType) -> None:
    metrics = [
        SimpleNamespace(name="vllm:num_preemptions", labels={"engine": "0"}, value=3),
        SimpleNamespace(name="vllm:num_preemptions", labels={"engine": "1"}, value=1),
        Gauge(name="vllm:num_requests_running", labels={}, value=2.0),
        SimpleNamespace(name="vllm:spec_decode_num_accepted_tokens_per_pos", labels={}, values=[5, 2]),
        SimpleNamespace(name="vllm:request_queue_time_seconds", labels={}, buckets={"+Inf": 4}, sum=0.5, count=4),
    ]
    values = worker.published_metrics(SimpleNamespace(get_metrics=lambda: metrics))
    assert values["vllm:num_preemptions_total"] == 4
    reading = parse_published(values)
    assert reading.gauges == {"requests_running": 2.0}
    assert reading.times == {"queue": (500.0, 4.0)}
    assert reading.counters == {
        ("preemptions", ""): 4.0,
        ("accepted_tokens_by_position", "0"): 5.0,
        ("accepted_tokens_by_position", "1"): 2.0,
    }


def test_an_engine_that_keeps_no_metrics_has_none(worker: ModuleType) -> None:
    def refuse() -> None:
        raise AssertionError("Stat logging disabled")

    assert worker.published_metrics(SimpleNamespace()) == {}
    assert worker.published_metrics(SimpleNamespace(get_metrics=refuse)) == {}
