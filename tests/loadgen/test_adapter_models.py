"""Each answer must have the name of the adapter that its request asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from tests.loadgen.loads import endpoint_of
from tests.loadgen.servers import served

from benchhydra.client import Requests
from benchhydra.client.apis import Api, RequestOptions
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.embeddings import Embeddings
from benchhydra.client.request_encoding import encode_request
from benchhydra.datasets import Prompt
from benchhydra.loadgen import LoadPlan, LoadResult, run_load
from benchhydra.progress import Progress
from benchhydra.records import ADAPTER

COUNT, TOKENS = 60, 5
#: The second name looks like another version of the first one.
MODELS = ("sql", "sql-latest", "m")


def body_of(model: str, stream: bool) -> bytes:
    usage = {"prompt_tokens": 1, "completion_tokens": TOKENS, "total_tokens": 1 + TOKENS}
    if not stream:
        return json.dumps({"model": model, "usage": usage, "data": [{"index": 0, "embedding": [1.0, 2.0]}]}).encode()
    pieces = [{"model": model, "choices": [{"index": 0, "delta": {"content": f" x{i}"}}]} for i in range(TOKENS)]
    end = {"model": model, "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
    events = [*pieces, end, {"model": model, "choices": [], "usage": usage}]
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"


@contextmanager
def server(answers: dict[str, str]) -> Iterator[int]:
    """A server that answers requests for a model in the name of another one. answers: asked -> answered name."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split()[0])
                asked = json.loads(await reader.readexactly(length))
                body = body_of(answers.get(asked["model"], asked["model"]), asked.get("stream", False))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
        writer.close()

    with served(answer) as port:
        yield port


def send(port: int, api: Api, processes: str) -> LoadResult:
    endpoint = endpoint_of(port, api, answer_model="m", adapter_models=MODELS)
    options, requests = RequestOptions(), Requests(prompt_key=api.prompt_key)
    for row in range(COUNT):
        prompt = Prompt("hi", 1, TOKENS, body={"model": MODELS[row % 3]})
        requests.add(encode_request(endpoint, prompt, TOKENS, options), 1, 0, {ADAPTER: row % 3})
    plan = LoadPlan(
        endpoint=endpoint,
        requests=requests,
        options=options,
        send_times_s=np.zeros(COUNT),
        max_in_flight=4,  # so that connections carry requests for several adapters
        processes=processes,
        timeout_s=10.0,
    )
    return run_load(plan, Progress())


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("api", [Chat(), Embeddings()], ids=["chat", "embeddings"])
def test_an_answer_of_another_model_than_the_one_asked_for_has_failed(api: Api, processes: str) -> None:
    with server({}) as port:
        assert send(port, api, processes).records.completed.all()
    with server({"sql": "m"}) as port:
        records = send(port, api, processes).records
    assert records.failures() == {"other_model": COUNT // 3}
    assert (records.failed == (records.labels[ADAPTER] == 0)).all()
    assert "'m'; 'sql' was asked for (script.answer_model=any if it is the same)" in records.errors[0]


def test_an_adapter_is_never_taken_for_a_version_of_another() -> None:
    with server({"sql": "sql-latest", "sql-latest": "SQL-latest"}) as port:
        records = send(port, Chat(), "1").records
    assert (records.failed == (records.labels[ADAPTER] == 0)).all()
