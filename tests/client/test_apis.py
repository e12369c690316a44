"""What each API reads out of documents and events, and a contract that all of them keep."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra import registry
from benchhydra.client.answer_ids import AnswerIds
from benchhydra.client.apis import Api, ApiEvent, RequestOptions, Usage
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.completions import Completions
from benchhydra.client.apis.embeddings import Embeddings
from benchhydra.client.chunk_template import TemplateLearner
from benchhydra.client.endpoint import Endpoint
from benchhydra.client.request_encoding import encode_request
from benchhydra.client.response import Response, ResponseReader
from benchhydra.client.response_parser import ResponseParser
from benchhydra.datasets import Media, Prompt
from benchhydra.records import Status

registry.discover()
PROMPT = Prompt("hi", 1, 5, texts=("hi", "there"), media=(Media("audio", "audio/wav", b"RIFF"),))
ALL = registry.options("api")
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "usage",
                    "error",
                    "message",
                    "delta",
                    "text",
                    "content",
                    "prompt_tokens",
                    "detail",
                    "object",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("name", ALL)
class TestContract:
    def test_the_prompt_is_the_last_key_of_the_body(self, name: str) -> None:
        api: Api = ALL[name]()
        assert api.prompt_key in api.own_body(PROMPT, 5)
        request = encode_request(Endpoint(base_url="http://h", api=api, model="m"), PROMPT, 5, RequestOptions())
        body = request.partition(b"\r\n\r\n")[2]
        if name == "transcription":
            assert body.rindex(b' name="') + 1 == body.index(b'name="file"')
        else:
            assert list(json.loads(body))[-1] == api.prompt_key
        assert api.path.startswith("/")

    def test_what_requests_share_does_not_depend_on_the_prompt(self, name: str) -> None:
        shared = ALL[name]().shared_body("m", RequestOptions())
        assert shared["model"] == "m"
        assert json.loads(json.dumps(shared)) == shared

    @given(document=st.dictionaries(st.sampled_from(["choices", "usage", "error", "object"]), documents))
    def test_read_accepts_any_document(self, name: str, document: dict[str, Any]) -> None:
        event = ALL[name]().read(document)
        assert isinstance(event, ApiEvent)
        assert all(isinstance(text, str) and text for text in event.texts)
        assert event.usage is None or all(-1 <= count < 2**31 for count in event.usage)


@pytest.mark.parametrize(
    ("api", "document", "texts"),
    [
        (Completions(), {"choices": [{"text": "a"}, {"text": ""}, {"text": "b"}]}, ["a", "b"]),
        (Completions(), {"choices": [{"text": None}, 7]}, []),
        (Chat(), {"choices": [{"delta": {"role": "assistant", "content": ""}}]}, []),
        (Chat(), {"choices": [{"delta": {"content": "a"}}]}, ["a"]),
        (Chat(), {"choices": [{"message": {"content": "a"}}]}, ["a"]),
        (Chat(), {"choices": [{"delta": {"content": "", "reasoning_content": "r"}}]}, ["r"]),
        (Chat(), {"choices": [{"delta": {"reasoning": "r"}}]}, ["r"]),
        (Chat(), {"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}, ['\x1e[{"index":0}]']),
        (Chat(), {"choices": []}, []),
    ],
)
def test_generated_text(api: Api, document: dict[str, Any], texts: list[str]) -> None:
    assert list(api.read(document).texts) == texts


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2}, Usage(3, 2)),
        ({"prompt_tokens": 3, "total_tokens": 3}, Usage(3, -1)),
        ({"prompt_tokens": -3, "completion_tokens": True}, Usage(-1, -1)),
        ({}, Usage(-1, -1)),
        (None, None),
    ],
)
def test_usage(usage: Any, expected: Usage | None) -> None:
    for api in (Completions(), Chat()):
        assert api.read({"choices": [], "usage": usage}).usage == expected


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"error": {"message": "no"}}, "no"),
        ({"error": "no"}, "no"),
        ({"object": "error", "message": "no"}, "no"),
        ({"error": {"code": 5}}, ""),
    ],
)
def test_errors(document: dict[str, Any], message: str) -> None:
    assert Completions().read(document).error == message


def read(data: bytes, name: bytes = b"", *, keep_text: bool = False) -> Response:
    answer = Response()
    ResponseReader(Completions(), answer, AnswerIds(), keep_text=keep_text).read(data, name)
    return answer


def test_an_event_is_added_to_the_answer() -> None:
    answer = read(b'{"choices":[{"text":"a"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}', keep_text=True)
    assert (answer.chunks, answer.prompt_tokens, answer.output_tokens, answer.texts) == (1, 3, 1, ["a"])
    assert answer.status is None


@pytest.mark.parametrize(
    ("data", "name", "status", "error"),
    [
        (b"{x", b"", Status.MALFORMED, "not JSON"),
        (b"[1]", b"", Status.MALFORMED, "not an object: b'[1]'"),
        (b'{"error":{"message":"oom"}}', b"", Status.ERROR_EVENT, "oom"),
        (b'{"message":"oom"}', b"error", Status.ERROR_EVENT, "oom"),
        (b'{"code":5}', b"error", Status.ERROR_EVENT, '{"code":5}'),
    ],
)
def test_failures_set_the_status(data: bytes, name: bytes, status: Status, error: str) -> None:
    answer = read(data, name)
    assert answer.status is status
    assert answer.error.startswith(error)
    assert answer.chunks == 0


def test_the_first_failure_is_kept() -> None:
    answer = Response()
    answer.fail(Status.MALFORMED, "x" * 10_000)
    answer.fail(Status.RESET, "gone")
    assert (answer.status, len(answer.error)) == (Status.MALFORMED, 500)


@dataclasses.dataclass(kw_only=True)
class Responses(Api):
    """An endpoint whose stream ends with a typed event, as OpenAI's /v1/responses does."""

    path = "/v1/responses"
    prompt_key = "input"
    text_keys = ("delta",)

    def own_body(self, prompt: Any, output_tokens: int) -> dict[str, Any]:
        return {"max_output_tokens": output_tokens, "input": prompt.text}

    def read(self, document: dict[str, Any]) -> ApiEvent:
        if document["type"] == "response.completed":
            usage = document["response"]["usage"]
            return ApiEvent(usage=Usage(usage["input_tokens"], usage["output_tokens"]), end=True)
        return ApiEvent(texts=[document["delta"]] if document["type"] == "response.output_text.delta" else [])


def test_an_api_with_other_events_and_another_end() -> None:
    def event(**fields: Any) -> bytes:
        body = b"event: %b\ndata: %b\n\n" % (fields["type"].encode(), json.dumps(fields).encode())
        return b"%x\r\n%b\r\n" % (len(body), body)

    delta = "response.output_text.delta"
    events = [event(type="response.created"), *(event(type=delta, delta=text) for text in ("a", "b", "c"))]
    events.append(event(type="response.completed", response={"usage": {"input_tokens": 3, "output_tokens": 9}}))
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    api = Responses()
    parser = ResponseParser(api, TemplateLearner(api))
    for part in (head, *events, b"0\r\n\r\n"):
        parser.feed(part)
    answer = parser.response
    assert (answer.complete, answer.status, answer.chunks) == (True, None, 3)
    assert (answer.prompt_tokens, answer.output_tokens) == (3, 9)


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("sent", ["float", "base64"])
def test_vectors_in_another_encoding_than_asked_for_are_no_answer(encoding: str, sent: str) -> None:
    vector = [1.0, 2.0] if sent == "float" else base64.b64encode(np.array([1.0, 2.0], "<f4").tobytes()).decode()
    event = Embeddings(encoding=encoding).read({"data": [{"index": 0, "embedding": vector}]})
    assert bool(event.malformed) is (sent != encoding)
    if event.malformed:
        assert f"sent as {sent}" in event.malformed
