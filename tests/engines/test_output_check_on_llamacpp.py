"""The output check on a real model: right at temperature 0; found at temperature 2, and where the context is cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tests import llamacpp

from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import Api, PromptContent, RequestOptions
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.completions import Completions
from benchhydra.client.request_encoding import encode_request
from benchhydra.datasets.copying import Copying
from benchhydra.datasets.tokenization import load_tokenizer
from benchhydra.loadgen import LoadPlan, run_load
from benchhydra.measure.answer_checks import output_check
from benchhydra.progress import Progress
from benchhydra.servers import Lease

REQUESTS = 8
COPYING = Copying(words=5)


@dataclass(kw_only=True)
class CutCompletions(Completions):
    """Completions of an engine that keeps only the last characters of a prompt, as one with a full context does."""

    def own_body(self, prompt: PromptContent, output_tokens: int) -> dict[str, Any]:
        return {**super().own_body(prompt, output_tokens), "prompt": prompt.text[-30:]}


@pytest.fixture(scope="module")
def lease(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lease]:
    with llamacpp.leased(tmp_path_factory.mktemp("llamacpp")) as made:
        yield made


def correct_fraction(lease: Lease, api: Api, options: RequestOptions) -> float:
    """The fraction of right answers to some texts to copy."""
    tokenizer = load_tokenizer(llamacpp.target(llamacpp.engine()))
    endpoint = Endpoint(base_url=lease.base_url, api=api, keep_alive=False)
    requests = Requests(prompt_key=api.prompt_key)
    for prompt in COPYING.sample(REQUESTS, tokenizer, np.random.default_rng(3), None):
        request = encode_request(endpoint, prompt, prompt.output_tokens, options)
        requests.add(request, prompt.prompt_tokens, prompt.output_tokens, {}, prompt.expect)
    plan = LoadPlan(
        endpoint=endpoint,
        requests=requests,
        send_times_s=np.zeros(REQUESTS),
        max_in_flight=2,
        options=options,
        keep_text=True,
    )
    result = run_load(plan, Progress())
    assert result.records.completed.all(), result.records.errors
    outcomes = output_check(result.texts or (), requests.expected)
    assert len(outcomes) == REQUESTS and set(outcomes) <= {0, 1}
    return sum(outcomes) / REQUESTS


def test_a_sound_engine_answers_rightly(lease: Lease) -> None:
    assert correct_fraction(lease, Completions(), RequestOptions()) >= 0.8
    assert correct_fraction(lease, Chat(), RequestOptions()) >= 0.5


def test_sampling_at_a_high_temperature_is_found(lease: Lease) -> None:
    hot = RequestOptions(temperature=2.0, body={"top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 1})
    assert correct_fraction(lease, Completions(), hot) <= 0.2


def test_a_cut_context_is_found(lease: Lease) -> None:
    assert correct_fraction(lease, CutCompletions(), RequestOptions()) <= 0.2
