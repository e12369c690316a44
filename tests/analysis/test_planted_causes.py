"""Eight planted causes, measured on the fake engine: the explanation names each of them first.

The whole path is used: the engine's ``/metrics``, the probes, the results, the comparison. Each side is one run, so the
comparison has the evidence of its requests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from tests.planted_causes import assert_first, hogs, measure, proxy, server_of, slow_client

from benchhydra.servers.pool import ServerPool

#: Alone: beside other tests, that the server lacks CPU is a true cause too.
pytestmark = [pytest.mark.timeout(120), pytest.mark.alone]

LOAD = (
    *("qps=40", "num_prompts=40", "script.warmup_requests=1"),
    *("dataset.prompt_tokens=64", "dataset.output_tokens=40"),
)
ENGINE = (
    *("engine.ttft_ms=4", "engine.itl_ms=4", "engine.prefill_us_per_token=100", "engine.prefix_caching=false"),
    *("engine.draft_tokens=3", "engine.acceptance=0.8", "engine.kv_cache_tokens=4000", "engine.max_concurrency=32"),
)
#: What is changed in the engine or the load, by the name of the cause.
SETTINGS = {
    "limited_at_once": "engine.max_concurrency=2",
    "kv_cache_full": "engine.kv_cache_tokens=220",
    "prefills_stall_decoding": "engine.chunked_prefill=false",
    "speculation_off": "engine.draft_tokens=0",
    "longer_prompts": "dataset.prompt_tokens=512",
}


@contextmanager
def servers(directory: Path) -> Iterator[ServerPool]:
    pool = ServerPool(directory / "servers")
    try:
        yield pool
    finally:
        pool.close()


def measured(directory: Path, *overrides: str) -> Path:
    """A run on a server of its own."""
    with servers(directory) as pool:
        return measure(directory / "run", *LOAD, *ENGINE, *overrides, pool=pool)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measured(tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize("cause", SETTINGS)
def test_a_setting_is_named(cause: str, usual: Path, tmp_path: Path) -> None:
    assert_first(cause, usual, measured(tmp_path, SETTINGS[cause]))


def test_a_slow_client_is_named(usual: Path, tmp_path: Path) -> None:
    with slow_client(per_packet_s=0.01):
        slow = measured(tmp_path)
    assert_first("client_slow", usual, slow)


def test_a_slow_network_is_named(tmp_path: Path) -> None:
    attached = (*LOAD, "engine=attach", "model.tokenizer=word")
    with servers(tmp_path) as pool, server_of(pool, *LOAD, *ENGINE) as server:
        for delay_ms in (0, 20):
            with proxy(server.base_url, delay_ms) as url, servers(tmp_path / f"{delay_ms}") as attaching:
                measure(tmp_path / f"{delay_ms}" / "run", *attached, f"engine.base_url={url}", pool=attaching)
    assert_first("network_slow", tmp_path / "0" / "run", tmp_path / "20" / "run")


def test_programs_on_the_servers_core_are_named(tmp_path: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("needs a core for the server and one for the client")
    load = (*LOAD, *ENGINE, "engine.cpu_us_per_chunk=900", "qps=30", "num_prompts=90")  # a third of the core
    with servers(tmp_path) as pool:
        with server_of(pool, *load) as server:
            assert server.pid is not None
            started = psutil.Process(server.pid)
            for process in (started, *started.children(recursive=True)):
                process.cpu_affinity([cores[-1]])
        measure(tmp_path / "quiet", *load, pool=pool)
        with hogs([cores[-1]], 4):
            measure(tmp_path / "busy", *load, pool=pool)
    assert_first("server_lacks_cpu", tmp_path / "quiet", tmp_path / "busy")
