"""Endpoints on a real engine: llama.cpp's server, with the small model that a package carries.

Its counts are exact too: of the model's own tokenizer, and of what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests import llamacpp
from tests.endpoints.conftest import Measured
from tests.scripts.points import run

from benchhydra.records import Records
from benchhydra.result import Result

REQUESTS = 6
#: Kind of server -> further flags of llama-server.
SERVERS: dict[str, dict[str, Any]] = {
    "chat": {},
    "vectors": {"embedding": True, "pooling": "mean"},
    "ranks": {"embedding": True, "pooling": "rank"},
}


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(llamacpp.leased(tmp_path_factory.mktemp(name), **args)).base_url
            for name, args in SERVERS.items()
        }


def measure(url: str, directory: Path, *overrides: str) -> Measured:
    tokenizer = llamacpp.target(llamacpp.engine()).tokenizer
    attach = ["engine=attach", f"engine.base_url={url}", "engine.keep_alive=false", "model=custom", "model.id=smollm2"]
    load = [f"model.tokenizer={tokenizer}", "load=concurrency", "load.max_in_flight=2", f"num_prompts={REQUESTS}"]
    quick = ["script.warmup_requests=0", "dataset.prompt_tokens=8", "gpus=cpu", f"validity.least_completed={REQUESTS}"]
    run(directory / "point", *attach, *load, *quick, *overrides)
    result = Result.read(directory / "point")
    return Measured(result, Records.read(directory / "point" / "records.parquet"))


def test_embeddings(urls: dict[str, str], tmp_path: Path) -> None:
    measured = measure(urls["vectors"], tmp_path, "api=embeddings", "api.batch=3", "api.encoding=base64")
    assert not measured.doubts
    metrics = measured.metrics
    assert (metrics["completed"], metrics["mean_items"], metrics["mean_input_tokens"]) == (REQUESTS, 3, 24)
    assert metrics["item_throughput"] == pytest.approx(3 * REQUESTS / metrics["duration_s"])


def test_rerank(urls: dict[str, str], tmp_path: Path) -> None:
    """SmolLM2 is no reranker, but its pooler ranks. Query and document are one text, with two separators."""
    measured = measure(urls["ranks"], tmp_path, "api=rerank", "api.documents=3", "api.template_tokens=0")
    assert measured.metrics["completed"] == REQUESTS
    assert measured.metrics["mean_items"] == 3


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("api", ["completions", "chat", "responses"])
def test_texts(urls: dict[str, str], tmp_path: Path, api: str, stream: bool) -> None:
    """The server counts what was asked for; llama.cpp's chat template is the tokenizer's own."""
    words = (f"api={api}", f"script.stream={stream}", "dataset.output_tokens=6")
    measured = measure(urls["chat"], tmp_path, *words)
    metrics = measured.metrics
    assert (metrics["completed"], metrics["mean_output_tokens"]) == (REQUESTS, 6)
    assert ("mean_ttft_ms" in metrics) is stream
    if api == "completions":
        assert (measured.rows.prompt_tokens == measured.rows.asked_prompt_tokens).all()
    assert not measured.doubts


@pytest.mark.parametrize("stream", [True, False])
def test_a_schema_is_obeyed(urls: dict[str, str], tmp_path: Path, stream: bool) -> None:
    words = ("api=chat", "api.json_schema=example", f"script.stream={stream}", "dataset.output_tokens=64")
    measured = measure(urls["chat"], tmp_path, *words, "num_prompts=4")
    assert measured.metrics["valid_output_fraction"] == 1


def test_what_the_server_does_not_know_is_found(urls: dict[str, str], tmp_path: Path) -> None:
    """llama.cpp ignores vLLM's ``structured_outputs``: the answers are not of the choice."""
    measured = measure(urls["chat"], tmp_path, "api=chat", "api.choice=[red,green]", "dataset.output_tokens=8")
    assert measured.metrics["valid_output_fraction"] == 0
    assert "structured_output" in measured.checks


def test_a_server_without_tools_is_found(urls: dict[str, str], tmp_path: Path) -> None:
    """Without ``--jinja`` llama.cpp answers in words, although a call is required."""
    words = ("api=chat", "api.tools=example", "api.tool_choice=required", "dataset.output_tokens=64")
    measured = measure(urls["chat"], tmp_path, *words, "num_prompts=4")
    assert measured.metrics["tool_calls_per_request"] == 0 == measured.metrics["valid_tool_call_fraction"]
    assert "tool_calls" in measured.checks
