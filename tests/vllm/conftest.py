"""Real vLLM on CPU: one server for the tests that only need one to talk to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchhydra import models
from benchhydra.engines.vllm import Vllm
from benchhydra.progress import Progress
from benchhydra.servers.pool import ServerPool
from benchhydra.target import Gpus, Model, Sparsity, Target


@pytest.fixture(scope="session")
def tiny() -> Target:
    target = Vllm().target(Model(id="tiny", build="tiny"), Sparsity(), Gpus(device="cpu"))
    return models.ensure(target, sys.executable, Progress())


@pytest.fixture(scope="session")
def vllm_url(tiny: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A vLLM without prefix caching, so that the same prompts cost the same every time."""
    engine = Vllm(args={"enable_prefix_caching": False, "enforce_eager": True})
    pool = ServerPool(tmp_path_factory.mktemp("servers"))
    try:
        with pool.lease(
            engine.server(tiny), Progress(), ready_timeout_s=180.0, stop_timeout_s=20.0, headers={}
        ) as lease:
            yield lease.base_url
    finally:
        pool.close()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"
