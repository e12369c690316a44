"""Runs with a known truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchhydra.analysis.runs import MetricKind, Run, Runs
from benchhydra.result import Better, Verdict

KINDS = {
    "mean_ttft_ms": MetricKind("ms", Better.SMALLER),
    "request_throughput": MetricKind("requests/s", Better.BIGGER),
    "completed": MetricKind("requests", Better.OBSERVATION),
}
Make = Callable[..., Runs]


@pytest.fixture
def make() -> Make:
    """Make ``count`` runs of a point with 1 % noise: make("a", 5, ttft=100, rate=10)."""

    def runs(
        name: str,
        count: int,
        *,
        ttft: float = 100.0,
        rate: float = 10.0,
        seed: int = 0,
        verdict: str = "VALID",
        key: str = "k",
    ) -> Runs:
        rng = np.random.default_rng([seed, *name.encode()])
        made_runs = [
            Run(
                run_id=f"{name}{i}",
                point_key=key,
                verdict=Verdict(verdict),
                status="ok",
                epoch_time=float(i),
                machine="m",
                metrics={
                    "mean_ttft_ms": ttft * float(np.exp(rng.normal(0, 0.01))),
                    "request_throughput": rate * float(np.exp(rng.normal(0, 0.01))),
                    "completed": 100.0,
                },
            )
            for i in range(count)
        ]
        return Runs(made_runs, dict(KINDS))

    return runs
