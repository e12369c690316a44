"""Warm-up: as many at once as the load will have under way, never more than it has, and as told where told; once."""

from __future__ import annotations

import numpy as np
import pytest

from benchhydra.client import Endpoint, Requests
from benchhydra.loadgen import LoadPlan
from benchhydra.scripts.serving import Serving


def plan(count: int, max_in_flight: int | None) -> LoadPlan:
    requests = Requests()
    for _ in range(count):
        requests.add(b"POST / HTTP/1.1\r\n\r\n", 4, 4)
    endpoint = Endpoint(base_url="http://127.0.0.1:1")
    return LoadPlan(endpoint=endpoint, requests=requests, offsets_s=np.zeros(count), max_in_flight=max_in_flight)


@pytest.mark.parametrize(
    ("told", "count", "max_in_flight", "expected"),
    [
        (None, 100, 32, 32),
        (None, 100, 2, 8),
        (None, 100, None, 8),
        (None, 20, 64, 20),
        (0, 100, 32, 0),
        (5, 100, 32, 5),
    ],
)
def test_how_many(told: int | None, count: int, max_in_flight: int | None, expected: int) -> None:
    assert Serving(warmup_requests=told)._warmups(plan(count, max_in_flight)) == expected
