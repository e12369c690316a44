"""The root key ``slo``: which limits it takes, and how far a run is from each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchhydra.errors import ConfigError
from benchhydra.metrics import declared, summarize
from benchhydra.metrics.slo import correlation_time, limit_figures, percentiles_of, slo_limits
from benchhydra.records import Records
from benchhydra.window import Window

REQUESTS = 2000


def records(ttft_ms: np.ndarray, failed: int = 0) -> Records:
    """One request a second, each with these times to the first token, and ten tokens at 10 ms."""
    count = len(ttft_ms)
    sent_ns = np.arange(count, dtype=np.int64) * 1_000_000_000
    first_ns = sent_ns + (ttft_ms * 1e6).astype(np.int64)
    rows = Records.of_spans(sent_ns.tolist(), (first_ns + 90_000_000).tolist(), output_tokens=[10] * count)
    columns = {"first_ns": first_ns, "last_ns": first_ns + 90_000_000}
    status = rows.status.copy()
    status[count - failed :] = 5
    return Records(**{**vars(rows), **columns, "status": status})


def metrics(rows: Records, slo: dict[str, Any], request_limits: dict[str, float] | None = None) -> dict[str, float]:
    window = Window.of(rows, slo=request_limits or {}, limits=slo_limits(slo))
    return {metric.key: metric.value for metric in summarize(window, {"requests"}, ())}


@pytest.mark.parametrize(
    ("key", "name", "column", "allowed"),
    [
        ("p99_ttft_ms", "p99_ttft_ms", "ttft_ms", 0.01),
        ("p95_e2el_ms", "p95_e2el_ms", "e2el_ms", 0.05),
        ("p99_9_itl_ms", "p99.9_itl_ms", "itl_ms", 0.001),
        ("median_ttft_ms", "median_ttft_ms", "ttft_ms", 0.5),
        ("mean_tpot_ms", "mean_tpot_ms", "tpot_ms", None),
        ("output_throughput", "output_throughput", None, None),
    ],
)
def test_any_metric_is_a_limit(key: str, name: str, column: str | None, allowed: float | None) -> None:
    (limit,) = slo_limits({key: 50})
    assert (limit.name, limit.column, limit.allowed) == (name, column, allowed)
    assert limit.is_upper == (key != "output_throughput")


def test_percentiles_that_are_limited_are_computed() -> None:
    assert percentiles_of(slo_limits({"p99_9_ttft_ms": 5, "mean_ttft_ms": 5, "p75_e2el_ms": 5})) == [99.9, 75]


@pytest.mark.parametrize(
    ("slo", "error", "hint"),
    [
        ({"p99_tttf_ms": 5}, "no such key: slo.p99_tttf_ms", "slo.p99_ttft_ms"),
        ({"std_ttft_ms": 5}, "no such key: slo.std_ttft_ms", "slo."),
        ({"share": 0.99}, "slo.share needs limits of single requests", "slo.ttft_ms=500"),
        ({"share": 99, "ttft_ms": 5}, "slo.share=99 must be between 0 and 1", "slo.share=0.99"),
        ({"p99_ttft_ms": 0}, "slo.p99_ttft_ms=0 must be above 0", "slo.p99_ttft_ms=200"),
        ({"p99_ttft_ms": "fast"}, "slo.p99_ttft_ms=fast is not a finite number", "slo.p99_ttft_ms=200"),
        ({"failed_fraction": 1.5}, "between 0 and 1", "slo.failed_fraction=0.001"),
    ],
)
def test_a_wrong_limit_is_one_line(slo: dict[str, Any], error: str, hint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        slo_limits(slo)
    assert error in raised.value.message
    assert hint in (raised.value.hint or "")


def test_a_percentile_is_met_if_few_enough_values_are_beyond_it() -> None:
    ttft_ms = np.where(np.arange(REQUESTS) % 50 == 49, 900.0, 100.0)  # 2 % are slow
    figures = metrics(records(ttft_ms), {"p99_ttft_ms": 500, "p95_ttft_ms": 500, "mean_ttft_ms": 500})
    assert figures["slo_ratio_p99_ttft_ms"] == pytest.approx(2, rel=0.02)
    assert figures["slo_ratio_p95_ttft_ms"] == pytest.approx(0.4, rel=0.02)
    assert figures["slo_ratio_mean_ttft_ms"] == pytest.approx(116 / 500, rel=0.02)
    assert figures["slo_allowed_p99_ttft_ms"] == 0.01
    assert figures["slo_limit_p99_ttft_ms"] == 500


def test_the_empty_start_is_left_out() -> None:
    ttft_ms = np.where(np.arange(REQUESTS) < REQUESTS // 20, 900.0, 100.0)
    assert metrics(records(ttft_ms), {"p99_ttft_ms": 500})["slo_ratio_p99_ttft_ms"] == 0


def test_failures_count_for_share_and_failed_fraction() -> None:
    rows = records(np.full(REQUESTS, 100.0), failed=90)  # 5 % of the 1800 that are left without the start
    figures = metrics(rows, {"share": 0.9, "failed_fraction": 0.1, "ttft_ms": 500}, {"ttft_ms": 500.0})
    assert figures["slo_ratio_share"] == pytest.approx(0.5)
    assert figures["slo_ratio_failed_fraction"] == pytest.approx(0.5)


@pytest.mark.parametrize("correlation", [0.0, 0.9, 0.98])
def test_the_number_of_independent_values_is_that_of_an_autoregressive_process(correlation: float) -> None:
    rng, count = np.random.default_rng(1), 100_000
    noise, values = rng.standard_normal(count), np.zeros(count)
    for i in range(1, count):
        values[i] = correlation * values[i - 1] + noise[i]
    expected = (1 + correlation) / (1 - correlation)
    assert correlation_time(values) == pytest.approx(expected, rel=0.25)


def test_the_mean_of_independent_values_counts_them_by_their_spread() -> None:
    ttft_ms = np.random.default_rng(1).exponential(100, REQUESTS)
    window = Window.of(records(ttft_ms), limits=slo_limits({"mean_ttft_ms": 500}))
    figures = limit_figures(window, window.limits[0])
    assert figures is not None
    assert figures.samples == pytest.approx(0.9 * REQUESTS, rel=0.15)  # an exponential has the spread of its mean


def test_metrics_of_limits_are_declared_by_name() -> None:
    metric = declared("slo_ratio_p99_ttft_ms")
    assert metric is not None and metric.unit == "ratio"
