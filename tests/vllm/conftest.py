"""Real vLLM on CPU: the servers that the tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.vllm.servers import PLAIN, VllmServers

from benchhydra import models
from benchhydra.engines.vllm import Vllm
from benchhydra.progress import Progress
from benchhydra.target import Gpus, Model, Sparsity, Target


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on shared servers run in one process, which is the one that runs what must run alone."""
    for item in items:
        if "vllm_servers" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.alone)


@pytest.fixture(scope="session")
def tiny() -> Target:
    target = Vllm().target(Model(id="tiny", build="tiny"), Sparsity(), Gpus(device="cpu"))
    return models.ensure(target, sys.executable, Progress())


@pytest.fixture(scope="session")
def vllm_servers(tiny: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServers]:
    servers = VllmServers(tmp_path_factory.mktemp("servers"))
    yield servers
    servers.close()


@pytest.fixture
def vllm_url(vllm_servers: VllmServers) -> str:
    """A vLLM without prefix caching, so that the same prompts cost the same every time."""
    return vllm_servers.url(**PLAIN)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"
