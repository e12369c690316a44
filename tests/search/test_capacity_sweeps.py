"""``search=capacity`` as a user types it, on the fake engine, whose capacity is computed here."""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np
import pytest

Sweeps = Any  # the fixture ``sweeps``

SLOTS, MEAN_MS, SIGMA, LIMIT_MS = 2, 20.0, 0.5, 60.0
SERVER = [f"engine.max_concurrency={SLOTS}", f"engine.ttft_ms={MEAN_MS}", f"engine.ttft_sigma={SIGMA}"]
#: One token an answer.
WORKLOAD = ["dataset.output_tokens=1", "dataset.prompt_tokens=8", "load=poisson"]
TOLERANT = ["client_wait_fraction=1", "client_wait_fraction_of_server=1", "stall_ms=1e4", "lag_ms=1e4"]


def mean_ttft_ms(rate: float) -> float:
    """The mean time to the first token of a queue with these slots, over many requests."""
    rng, count = np.random.default_rng(1), 60_000
    sent_s = np.cumsum(rng.exponential(1 / rate, count)).tolist()
    service_s = (MEAN_MS / 1e3 * np.exp(SIGMA * rng.standard_normal(count) - SIGMA**2 / 2)).tolist()
    free, total = [0.0] * SLOTS, 0.0
    for at, service in zip(sent_s, service_s, strict=True):
        begin = max(at, free[0])
        heapq.heapreplace(free, begin + service)
        total += begin + service - at
    return total / count * 1e3


def true_capacity() -> float:
    low, high = 10.0, 100.0
    for _ in range(12):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if mean_ttft_ms(middle) > LIMIT_MS else (middle, high)
    return low


@pytest.mark.alone
def test_the_capacity_of_the_fake_engine_is_that_of_its_queue(sweeps: Sweeps) -> None:
    limits = [f"slo.mean_ttft_ms={LIMIT_MS}", "search=capacity", "search.precision=0.2", "search.min_requests=150"]
    words = [*SERVER, *WORKLOAD, *limits, "search.max_requests=400", "search.max_probes=6"]
    assert sweeps.run(*words, *(f"validity.{word}" for word in TOLERANT)) == 0, sweeps.log.read_text()[-3000:]
    (answer,) = sweeps.summary()["answers"]
    assert answer["unit"] == "requests/s" and answer["limited_by"] == f"mean_ttft_ms <= {LIMIT_MS:g}"
    truth = true_capacity()
    assert 0.7 * truth < answer["value"] < 1.2 * truth
    assert answer["low"] < truth * 1.1 and answer["high"] > truth * 0.7
    points = sweeps.summary()["points"]
    assert any("qps=inf" in override for override in points[0]["overrides"])
    assert answer["probes"] == len(points) - 1
    assert {probe["decision"] for probe in answer["evidence"]} <= {"met", "missed", "unclear"}
    assert answer["fit"]["metric"] == "slo_ratio_mean_ttft_ms"
