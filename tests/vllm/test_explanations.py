"""Planted causes on real vLLM on CPU: the explanation names each first, and its parts add up.

Each side is one run, so the comparison has the evidence of its requests. The planted effects are several times larger
than what another program on the machine does to a run. The server runs on one core, the client on another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.planted_causes import assert_first, hogs, measure, proxy, slow_client
from tests.vllm.servers import CORES, DRAFTING, PLAIN, SMALL_CACHE, TWO_SLOTS, VllmServers, words

from benchhydra.result import Result
from benchhydra.servers.pool import ServerPool

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.alone,
    pytest.mark.timeout(400),
    pytest.mark.skipif(len(CORES) < 2, reason="one core for the server, one for the client"),
]

#: Random tokens: a greedy answer of a random model is one token again and again, often without text.
SHORT_ANSWERS = (
    *("qps=12", "num_prompts=45", "script.warmup_requests=2", "script.temperature=1.0"),
    *("dataset.prompt_tokens=48", "dataset.output_tokens=64"),
)
#: Greedy answers that are long enough to be drafted from: the model repeats itself.
LONG_ANSWERS = (
    *("qps=5", "num_prompts=35", "script.warmup_requests=2"),
    *("dataset.prompt_tokens=48", "dataset.output_tokens=200"),
)
DELAY_MS = 150


@contextmanager
def client_on(core: int) -> Iterator[None]:
    """This process on one core; what it starts meanwhile, too."""
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


class Runs:
    """Measures each run once, on the shared servers."""

    def __init__(self, directory: Path, servers: VllmServers) -> None:
        self._directory = directory
        self._servers = servers

    def on(self, name: str, args: dict[str, object], *load: str) -> Path:
        """The directory of a run on the server with these engine arguments."""
        directory = self._directory / name
        if not directory.exists():
            pool = self._servers.pool(**args)
            with client_on(CORES[0]):
                measure(directory, *words(**args), *load, pool=pool)
        return directory

    def through_a_proxy(self, name: str, delay_ms: float) -> Path:
        """The directory of a run behind a proxy."""
        directory = self._directory / name
        url = self._servers.url(**PLAIN)
        with client_on(CORES[0]), proxy(url, delay_ms) as proxy_url:
            attached = ("engine=attach", f"engine.base_url={proxy_url}", "model=tiny")
            pool = ServerPool(self._directory / f"{name}-servers")
            measure(directory, *SHORT_ANSWERS, *attached, pool=pool)
            pool.close()
        return directory

    @property
    def usual(self) -> Path:
        """Short answers without any planted cause."""
        return self.on("usual", PLAIN, *SHORT_ANSWERS)

    @property
    def usual_long(self) -> Path:
        """Long answers without any planted cause."""
        return self.on("usual-long", PLAIN, *LONG_ANSWERS)


@pytest.fixture(scope="module")
def runs(vllm_servers: VllmServers, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"), vllm_servers)


def test_the_parts_are_the_clients_mean(runs: Runs) -> None:
    values = {name: metric.value for name, metric in Result.read(runs.usual).metrics.items()}
    parts = [values[f"server_{part}_ms"] for part in ("queue", "prefill", "decode", "frontend")]
    assert sum(parts) + values["outside_server_e2el_ms"] == pytest.approx(values["mean_e2el_ms"], rel=0.05)


def test_longer_prompts_are_named(runs: Runs) -> None:
    changed = runs.on("longer", PLAIN, *SHORT_ANSWERS, "dataset.prompt_tokens=700")
    assert_first("longer_prompts", runs.usual, changed)


def test_a_slow_network_is_named(runs: Runs) -> None:
    assert_first("network_slow", runs.through_a_proxy("direct", 0), runs.through_a_proxy("delayed", DELAY_MS))


def test_a_slow_client_is_named(runs: Runs) -> None:
    with slow_client(per_packet_s=0.03):
        changed = runs.on("client", PLAIN, *SHORT_ANSWERS)
    assert_first("client_slow", runs.usual, changed)


def test_programs_on_the_servers_core_are_named(runs: Runs) -> None:
    base = runs.usual
    with hogs([CORES[-1]], 8):
        changed = runs.on("hogs", PLAIN, *SHORT_ANSWERS)
    assert_first("server_lacks_cpu", base, changed)


def test_a_limit_of_requests_at_once_is_named(runs: Runs) -> None:
    assert_first("limited_at_once", runs.usual, runs.on("two-slots", TWO_SLOTS, *SHORT_ANSWERS))


def test_a_small_kv_cache_is_named(runs: Runs) -> None:
    assert_first("kv_cache_full", runs.usual_long, runs.on("small-cache", SMALL_CACHE, *LONG_ANSWERS))


def test_speculation_that_is_off_is_named(runs: Runs) -> None:
    drafting = runs.on("drafting", DRAFTING, *LONG_ANSWERS)
    assert_first("speculation_off", drafting, runs.on("not-drafting", PLAIN, *LONG_ANSWERS))  # a run after the other
