"""Requests as bytes, and their compact store."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import Api, RequestOptions
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.completions import Completions
from benchhydra.client.request_encoding import encode_request
from benchhydra.datasets import Prompt

OPTIONS = RequestOptions()


def completions(base_url: str = "http://h", **fields: Any) -> Endpoint:
    return Endpoint(base_url=base_url, api=Completions(), **fields)


def encoded(
    endpoint: Endpoint,
    text: str = "",
    output_tokens: int = 1,
    *,
    messages: tuple[dict[str, str], ...] | None = None,
    options: RequestOptions = OPTIONS,
) -> bytes:
    return encode_request(endpoint, Prompt(text, 1, output_tokens, messages), output_tokens, options)


def parts(request: bytes) -> tuple[list[bytes], dict[str, Any]]:
    head, _, body = request.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), json.loads(body)


def test_a_completions_request() -> None:
    endpoint = completions("http://h:1/v1", model="m", headers={"Authorization": "Bearer k"})
    head, body = parts(encoded(endpoint, "hi", 7))
    assert head[0] == b"POST /v1/completions HTTP/1.1"
    assert {
        b"Host: h:1",
        b"Accept: text/event-stream",
        b"Authorization: Bearer k",
        b"Content-Length: %d" % len(json.dumps(body, separators=(",", ":"))),
    } <= set(head)
    assert body == {
        "model": "m",
        "max_tokens": 7,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
        "temperature": 0.0,
        "prompt": "hi",
    }


def test_a_chat_request_of_a_plain_prompt() -> None:
    endpoint = Endpoint(base_url="https://h", api=Chat(), model="m")
    head, body = parts(encoded(endpoint, "hi", 7, options=RequestOptions(stream=False)))
    assert head[0] == b"POST /v1/chat/completions HTTP/1.1"
    assert b"Accept: application/json" in head
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert body["stream"] is False and "stream_options" not in body


def test_control_characters_in_headers_are_refused() -> None:
    with pytest.raises(ValueError, match="control character"):
        encoded(completions(headers={"A": "b\r\nC: d"}))


def test_a_conversation_goes_to_chat_as_it_is() -> None:
    messages = ({"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"})
    _, body = parts(encoded(Endpoint(base_url="http://h", api=Chat()), "be brief hi", messages=messages))
    assert body["messages"] == list(messages)


def test_the_users_fields_replace_the_apis_but_not_the_prompt() -> None:
    fields = {"max_tokens": None, "temperature": 0.7, "top_p": 0.9, "prompt": "another"}
    _, body = parts(encoded(completions(), "hi", 7, options=RequestOptions(body=fields)))
    assert (body["max_tokens"], body["temperature"], body["top_p"], body["prompt"]) == (None, 0.7, 0.9, "hi")
    assert list(body)[-1] == "prompt"


def test_an_answer_may_end_where_the_model_ends_it() -> None:
    _, body = parts(encoded(completions(), options=RequestOptions(ignore_eos=False)))
    assert "ignore_eos" not in body


def test_the_secret_is_not_in_any_repr() -> None:
    endpoint = completions(headers={"Authorization": "Bearer secret"})
    requests = Requests()
    requests.add(encoded(endpoint, "hi"), 1, 1)
    assert "secret" not in repr(endpoint) + repr(requests)


@given(st.lists(st.tuples(st.text(max_size=40), st.integers(1, 9)), max_size=20), st.integers(1, 4))
def test_requests_come_out_as_they_were_added(prompts: list[tuple[str, int]], dealt: int) -> None:
    requests, whole = Requests(), []
    for text, tokens in prompts:
        whole.append(encoded(completions(model='"prompt":'), text, tokens))
        requests.add(whole[-1], 1, tokens)
    for part in range(dealt):
        some = requests.every_nth(part, dealt)
        assert [some.take(i) for i in range(len(some))] == whole[part::dealt]
        assert list(some.output_tokens) == [tokens for _, tokens in prompts][part::dealt]
    assert [requests.take(i) for i in range(len(requests))] == whole


def test_any_bytes_are_kept_as_they_are() -> None:
    requests = Requests()
    odd = b"", b"GET / HTTP/1.1\r\n\r\n", b'POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"prompt":"'
    for request in odd:
        requests.add(request, 1, 1)
    assert tuple(requests.take(i) for i in range(len(requests))) == odd


def test_memory_of_sent_requests_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchhydra.client.request_store.BLOCK_ROWS", 4)
    requests = Requests()
    for i in range(10):
        requests.add(b"%d" % i, 1, 1)
    assert [requests.take(i) for i in (3, 0, 1, 9)] == [b"3", b"0", b"1", b"9"]
    assert [len(block) for block in requests.blocks] == [4, 4, 2]
    assert [requests.take(i) for i in (2, 8)] == [b"2", b"8"]
    assert [len(block) for block in requests.blocks] == [0, 4, 0]


@pytest.mark.parametrize("api", [Completions(), Chat()], ids=["completions", "chat"])
def test_the_shared_part_of_requests_is_stored_once(api: Api) -> None:
    requests = Requests(prompt_key=api.prompt_key)
    endpoint = Endpoint(base_url="http://h", api=api, headers={"X": "y" * 1000})
    for i in range(50):
        requests.add(encoded(endpoint, f"prompt {i}", 8), 2, 8)
    assert sum(map(len, requests.blocks)) < 50 * 60
