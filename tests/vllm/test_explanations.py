"""Planted causes on real vLLM on CPU: the explanation names each first, and its parts add up.

Three causes by default; ``ALL_CAUSES=1`` plants four more, which need a machine that does nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.planted_causes import assert_first, hogs, measure, proxy, server_of, slow_client

from benchhydra.result import Result
from benchhydra.servers.pool import ServerPool

CORES = sorted(os.sched_getaffinity(0))
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(400),
    pytest.mark.skipif(len(CORES) < 2, reason="one core for the server, one for the client"),
]

ALL = bool(os.environ.get("ALL_CAUSES"))
only_with_all = pytest.mark.skipif(not ALL, reason="ALL_CAUSES=1 plants this one, too")

VLLM = (
    *("engine=vllm", "gpus=cpu", "model=tiny", "model.max_model_len=640"),
    *("++engine.args.enable_prefix_caching=false", "++engine.args.max_num_seqs=64", "++engine.args.block_size=128"),
    f"++engine.env.VLLM_CPU_OMP_THREADS_BIND='{CORES[-1]}'",
)
LOAD = (
    *("qps=10", "num_prompts=50", "script.warmup_requests=2"),
    *("dataset.prompt_tokens=200", "dataset.output_tokens=64"),
    "validity.failed_fraction=0.2",  # a model of random weights answers now and then without text
)
#: What is changed in the engine, by the name of the cause.
SETTINGS = {
    "limited_at_once": "++engine.args.max_num_seqs=1",
    "kv_cache_full": "++engine.args.num_gpu_blocks_override=6",
}

#: Answers that are long enough to be drafted from: a model of random weights repeats itself.
LONG_ANSWERS = ("qps=3", "num_prompts=36", "dataset.output_tokens=200")
NGRAM = "{method: ngram, num_speculative_tokens: 4, prompt_lookup_max: 3, prompt_lookup_min: 1}"


@contextmanager
def servers(directory: Path) -> Iterator[ServerPool]:
    pool = ServerPool(directory / "servers")
    try:
        yield pool
    finally:
        pool.close()


@contextmanager
def client_on(core: int) -> Iterator[None]:
    """This process on one core; what it starts meanwhile, too."""
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the runs on one server: its usual one, and one for each cause that is not in the server."""
    directory = tmp_path_factory.mktemp("usual")
    with servers(directory) as pool:
        with server_of(pool, *VLLM):  # starts it on all cores
            pass
        with client_on(CORES[0]):
            measure(directory / "usual", *VLLM, *LOAD, pool=pool)
            measure(directory / "longer_prompts", *VLLM, *LOAD, "dataset.prompt_tokens=550", pool=pool)
            measure(directory / "speculation_off", *VLLM, *LOAD, *LONG_ANSWERS, pool=pool)
            if ALL:
                measure_through_proxies(directory, pool)
                with slow_client(per_packet_s=0.02):
                    measure(directory / "client_slow", *VLLM, *LOAD, pool=pool)
                with hogs([CORES[-1]], 4):
                    measure(directory / "server_lacks_cpu", *VLLM, *LOAD, pool=pool)
    return directory


def measure_through_proxies(directory: Path, pool: ServerPool) -> None:
    """Runs on the server of the pool, behind a proxy without a delay and one with it."""
    with server_of(pool, *VLLM) as server:
        for name, delay_ms in (("direct", 0), ("network_slow", 150)):
            with proxy(server.base_url, delay_ms) as url, servers(directory / f"{name}-servers") as attaching:
                attached = ("engine=attach", f"engine.base_url={url}", "model=tiny")
                measure(directory / name, *LOAD, *attached, pool=attaching)


def test_the_parts_are_the_clients_mean(usual: Path) -> None:
    values = {name: metric.value for name, metric in Result.read(usual / "usual").metrics.items()}
    parts = [values[f"server_{part}_ms"] for part in ("queue", "prefill", "decode", "frontend")]
    assert sum(parts) + values["outside_server_e2el_ms"] == pytest.approx(values["mean_e2el_ms"], rel=0.05)


@pytest.mark.parametrize(
    "cause",
    [
        "longer_prompts",
        pytest.param("client_slow", marks=only_with_all),
        pytest.param("server_lacks_cpu", marks=only_with_all),
    ],
)
def test_a_cause_outside_the_server_is_named(cause: str, usual: Path) -> None:
    assert_first(cause, usual / "usual", usual / cause)


@only_with_all
def test_a_slow_network_is_named(usual: Path) -> None:
    assert_first("network_slow", usual / "direct", usual / "network_slow")


@pytest.mark.parametrize("cause", ["limited_at_once", pytest.param("kv_cache_full", marks=only_with_all)])
def test_a_setting_is_named(cause: str, usual: Path, tmp_path: Path) -> None:
    with servers(tmp_path) as pool:
        changed = measure(tmp_path / "run", *VLLM, *LOAD, SETTINGS[cause], pool=pool)
    assert_first(cause, usual / "usual", changed)


def test_speculation_that_is_off_is_named(usual: Path, tmp_path: Path) -> None:
    with servers(tmp_path) as pool:
        drafting = (*LONG_ANSWERS, f"++engine.args.speculative_config={NGRAM}")
        measure(tmp_path / "run", *VLLM, *LOAD, *drafting, pool=pool)
    assert_first("speculation_off", tmp_path / "run", usual / "speculation_off")
