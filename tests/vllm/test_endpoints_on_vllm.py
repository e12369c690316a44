"""Endpoints on a real vLLM: texts on a server that other tests use too, and those of a cross-encoder on their own.

vLLM counts and scores exactly as many texts as were asked for. Embeddings, schemas, images and recordings are in
``benchmarks/endpoints_on_vllm.py``: each needs a server or packages of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from benchmarks import small_models
from tests.endpoints.conftest import Measured
from tests.planted_causes import measure
from tests.vllm.servers import PLAIN, VllmServers, words

from benchhydra.records import Records
from benchhydra.result import Result
from benchhydra.servers.pool import ServerPool

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]

REQUESTS, WORDS = 6, 24
LOAD = (
    *("load=concurrency", "load.max_in_flight=2", f"num_prompts={REQUESTS}", f"validity.least_completed={REQUESTS}"),
    *("script.warmup_requests=0", f"dataset.prompt_tokens={WORDS}", "dataset.output_tokens=8"),
)


def measured(directory: Path, pool: ServerPool, *overrides: str) -> Measured:
    point = measure(directory / "point", *LOAD, *overrides, pool=pool)
    return Measured(Result.read(point), Records.read(point / "records.parquet"))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("api", ["completions", "chat", "responses"])
def test_texts(vllm_servers: VllmServers, tmp_path: Path, api: str, stream: bool) -> None:
    pool = vllm_servers.pool(**PLAIN)
    overrides = (*words(**PLAIN), f"api={api}", f"script.stream={stream}")
    point = measured(tmp_path, pool, *overrides)
    assert point.metrics["completed"] == REQUESTS and point.metrics["mean_output_tokens"] == 8
    assert (point.rows.prompt_tokens == point.rows.asked_prompt_tokens).all()
    assert ("mean_tpot_ms" in point.metrics) is stream
    assert not point.doubts


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerPool, tuple[str, ...]]]:
    """A pool, and the overrides of its server, which scores texts."""
    directory = tmp_path_factory.mktemp("cross_encoder")
    model = directory / "model"
    model.mkdir()
    small_models.cross_encoder(model)
    server = ("engine=vllm", "gpus=cpu", "model=custom", f"model.id={model}", "++engine.args.runner=pooling")
    pool = ServerPool(directory)
    yield pool, (*server, "++engine.args.max_model_len=512")
    pool.close()


@pytest.mark.parametrize(
    ("api", "tokens"),
    [
        (("api=classify", "api.batch=3"), 3 * WORDS),
        (("api=pooling", "api.batch=3"), 3 * WORDS),
        (("api=score", "api.documents=3"), 6 * WORDS),  # the query once for each document
        (("api=rerank", "api.documents=3"), 6 * WORDS),
    ],
    ids=["classify", "pooling", "score", "rerank"],
)
def test_scores(
    cross_encoder: tuple[ServerPool, tuple[str, ...]], tmp_path: Path, api: tuple[str, ...], tokens: int
) -> None:
    pool, server = cross_encoder
    point = measured(tmp_path, pool, *server, *api)
    assert not point.doubts
    metrics = point.metrics
    assert (metrics["completed"], metrics["mean_items"], metrics["mean_input_tokens"]) == (REQUESTS, 3, tokens)
    assert metrics["item_throughput"] == pytest.approx(3 * REQUESTS / metrics["duration_s"])
    assert (np.asarray(point.rows.labels["items"]) == 3).all()
