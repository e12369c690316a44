"""Metrics that are a constant times another one in every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from benchhydra.analysis.comparison import MetricChange, PointChange
from benchhydra.analysis.equal_metrics import equal_metrics
from benchhydra.analysis.runs import Run
from benchhydra.result import Better, Verdict


def change(name: str, is_main: bool) -> MetricChange:
    return MetricChange(
        metric=name,
        unit="",
        better=Better.SMALLER,
        base=1.0,
        candidate=1.0,
        base_runs=1,
        candidate_runs=1,
        ratio=0.0,
        is_main=is_main,
    )


def point(runs: Sequence[Mapping[str, float]], main: tuple[str, ...] = ()) -> PointChange:
    made = [
        Run(run_id=str(at), point_key="k", verdict=Verdict.VALID, status="ok", epoch_time=0.0, metrics=dict(metrics))
        for at, metrics in enumerate(runs)
    ]
    names = dict.fromkeys(name for metrics in runs for name in metrics)
    metrics = tuple(change(name, name in main) for name in names)
    return PointChange(point_key="k", label="p", base=(made[0],), candidate=tuple(made[1:]), metrics=metrics)


def rates(rate: float, tokens: float) -> dict[str, float]:
    return {"request_throughput": rate, "output_throughput": rate * tokens}


def test_with_fixed_lengths_tokens_a_second_are_requests_a_second() -> None:
    fixed = point([rates(rate, 128.0) for rate in (3.1, 3.3, 2.9)])
    assert equal_metrics([fixed]) == {"output_throughput": "request_throughput"}


def test_the_constant_may_differ_from_point_to_point() -> None:
    points = [point([rates(3.1, 16.0), rates(3.3, 16.0)]), point([rates(7.0, 128.0), rates(7.7, 128.0)])]
    assert equal_metrics(points) == {"output_throughput": "request_throughput"}


def test_one_token_more_in_one_run_of_one_point_is_enough_to_differ() -> None:
    lengths = [rates(3.1, 128.0), rates(3.3, 128.0), rates(2.9, 128.0 + 1 / 1000)]
    assert equal_metrics([point(lengths)]) == {}
    assert equal_metrics([point(lengths[:2]), point(lengths)]) == {}


def test_statistics_of_a_single_request_are_one_value() -> None:
    names = ("mean_ttft_ms", "median_ttft_ms", "p99_ttft_ms")
    single = point([dict.fromkeys(names, value) for value in (50.1, 51.7)])
    assert equal_metrics([single]) == {"median_ttft_ms": "mean_ttft_ms", "p99_ttft_ms": "mean_ttft_ms"}


def test_a_main_metric_stands_for_others() -> None:
    names = ("mean_ttft_ms", "p99_ttft_ms")
    single = point([dict.fromkeys(names, value) for value in (50.1, 51.7)], main=("p99_ttft_ms",))
    assert equal_metrics([single]) == {"mean_ttft_ms": "p99_ttft_ms"}


@pytest.mark.parametrize("value", [1.0, 0.0])
def test_constants_are_equal_by_chance(value: float) -> None:
    assert equal_metrics([point([{"slo_attainment": value, "completed": 10.0}] * 3)]) == {}


def test_a_metric_that_some_runs_lack_differs() -> None:
    runs = [rates(3.1, 16.0), rates(3.3, 16.0), {"request_throughput": 3.5}]
    assert equal_metrics([point(runs)]) == {}
