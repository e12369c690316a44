"""The figures of a point that are without the luck of its arrivals, and the points that have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchhydra import registry
from benchhydra.emulation.queue_model import QueueModel
from benchhydra.emulation.server_model import Arrivals
from benchhydra.facts import Facts
from benchhydra.loads.constant import Constant
from benchhydra.loads.poisson import Poisson
from benchhydra.loads.sessions import SessionLoad
from benchhydra.metrics import summarize
from benchhydra.metrics.slo import slo_limits
from benchhydra.records import Records
from benchhydra.window import Window

registry.discover()

COUNT, RATE, SERVICE_S = 800, 3.4, 0.5
LIMIT_MS, ALLOWED = 1500.0, 0.1
SLO = {"p90_ttft_ms": LIMIT_MS}
ONES = np.ones(1)
SERVER = QueueModel(slots=2, first_s=(SERVICE_S, 0.0), decode_s=(0.0, 0.0), first_factors=ONES, decode_factors=ONES)


def rows(failed: int = 0) -> Records:
    """Poisson arrivals at two servers, most of whose time is taken."""
    rng = np.random.default_rng(1)
    sent_s = np.cumsum(rng.exponential(1.0, COUNT))
    sent_s = (sent_s - sent_s[0]) / np.ptp(sent_s) * (COUNT - 1) / RATE
    latencies = SERVER.latencies(Arrivals(sent_s, np.ones(COUNT), np.ones(COUNT)), rng)
    sent_ns = (sent_s * 1e9).astype(np.int64)
    end_ns = sent_ns + (latencies.ttft_ms * 1e6).astype(np.int64)
    records = Records.of_spans(sent_ns.tolist(), end_ns.tolist(), output_tokens=[1] * COUNT)
    status = records.status.copy()
    status[:failed] = 5
    return Records(**{**vars(records), "first_ns": end_ns, "last_ns": end_ns, "status": status})


def true_ratio(rate: float) -> float:
    """The ratio to the limit in a long run."""
    rng, count = np.random.default_rng(9), 400_000
    arrivals = Arrivals(np.cumsum(rng.exponential(1 / rate, count)), np.ones(count), np.ones(count))
    return float((SERVER.latencies(arrivals, rng).ttft_ms > LIMIT_MS).mean()) / ALLOWED


def figures(records: Records, slo: Mapping[str, float] = SLO, **facts: Any) -> dict[str, float]:
    known = {"gap_variation": 1.0, "stationary": True, "offered_rps": RATE} | facts
    window = Window.of(records, limits=slo_limits(slo), facts=Facts(known))
    return {metric.key: metric.value for metric in summarize(window, {"requests"}, ())}


def test_a_point_with_poisson_arrivals_has_figures_without_their_luck() -> None:
    values = figures(rows())
    assert values["slo_adjusted_samples_p90_ttft_ms"] > 3 * values["slo_samples_p90_ttft_ms"]
    assert values["slo_adjusted_ratio_p90_ttft_ms"] == pytest.approx(true_ratio(RATE), rel=0.1)
    assert true_ratio(values["slo_model_rate_p90_ttft_ms"]) == pytest.approx(1.0, rel=0.15)
    assert 3 < values["slo_slope_p90_ttft_ms"] < 40
    assert figures(rows()) == values


@pytest.mark.parametrize("facts", [{"gap_variation": None}, {"max_in_flight": 8}])
def test_arrivals_of_another_kind_are_not_emulated(facts: dict[str, Any]) -> None:
    assert not any(name.startswith(("slo_adjusted", "slo_model")) for name in figures(rows(), **facts))


def test_a_load_with_failed_requests_is_not_emulated() -> None:
    assert not any(name.startswith("slo_adjusted") for name in figures(rows(failed=1)))


@pytest.mark.parametrize(("late_ms", "is_emulated"), [(0.01, True), (300.0, False)])
def test_scheduled_latencies_are_emulated_only_if_requests_were_sent_in_time(late_ms: float, is_emulated: bool) -> None:
    """Figures of requests that were sent late would otherwise leave out how late."""
    records = rows()
    late = replace(records, scheduled_ns=records.sent_ns - int(late_ms * 1e6))
    values = figures(late, {"p90_scheduled_ttft_ms": LIMIT_MS})
    assert values["slo_ratio_p90_scheduled_ttft_ms"] > 0
    assert ("slo_adjusted_ratio_p90_scheduled_ttft_ms" in values) == is_emulated


def test_loads_say_how_their_arrivals_vary() -> None:
    assert Poisson(qps=5.0).gap_variation() == 1.0
    assert Poisson(qps=5.0, burstiness=4.0).gap_variation() == 0.25
    assert Constant(qps=5.0).gap_variation() == 0.0
    assert SessionLoad(qps=5.0).gap_variation() is None  # turns wait for answers
