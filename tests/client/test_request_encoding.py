"""Requests as bytes, and their compact store."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import Api, RequestOptions
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.completions import Completions
from benchhydra.client.request_encoding import encode_request
from benchhydra.client.request_store import LONG_BYTES
from benchhydra.datasets import Prompt
from benchhydra.errors import ConfigError
from benchhydra.fetch import check_base_url, split_api_path

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
    fields = {"max_tokens": 9, "temperature": 0.7, "top_p": 0.9, "prompt": "another", "stop": {"a": None}}
    _, body = parts(encoded(completions(), "hi", 7, options=RequestOptions(body=fields)))
    assert (body["max_tokens"], body["temperature"], body["top_p"], body["prompt"]) == (9, 0.7, 0.9, "hi")
    assert body["stop"] == {"a": None}
    assert list(body)[-1] == "prompt"


def test_null_leaves_a_field_out() -> None:
    """Servers that forbid a field forbid it with null too."""
    fields = {"max_tokens": None, "temperature": None, "stream_options": None, "prompt": None}
    _, body = parts(encoded(completions(model="m"), "hi", 7, options=RequestOptions(body=fields)))
    assert body == {"model": "m", "stream": True, "ignore_eos": True, "prompt": "hi"}


@pytest.mark.parametrize("api", [Completions, Chat])
def test_the_limit_of_tokens_has_the_name_that_the_server_knows(api: type[Completions | Chat]) -> None:
    def body_of(limit: str | None) -> dict[str, Any]:
        return parts(encoded(Endpoint(base_url="http://h", api=api(token_limit=limit)), "hi", 7))[1]

    assert body_of("max_completion_tokens")["max_completion_tokens"] == 7
    assert "max_tokens" not in body_of("max_completion_tokens")
    for none in ("none", None):
        assert not {"max_tokens", "max_completion_tokens", "ignore_eos"} & body_of(none).keys()
    with pytest.raises(ConfigError, match=r"api\.token_limit=tokens is not allowed"):
        api(token_limit="tokens")


@pytest.mark.parametrize(
    ("base_url", "path", "requested"),
    [
        ("http://h", None, "/v1/completions"),
        ("http://h/", None, "/v1/completions"),
        ("http://v1", None, "/v1/completions"),
        ("http://h/v1/", None, "/v1/completions"),
        ("http://h/team/v1", None, "/team/v1/completions"),
        ("http://h/team", None, "/team/v1/completions"),
        ("http://h/api/v3", None, "/api/v3/completions"),
        ("http://h/v1beta/openai/", None, "/v1beta/openai/completions"),
        ("http://h", "/api/v3", "/api/v3/completions"),
        ("http://h", "api/v3/", "/api/v3/completions"),
        ("http://h/api", "/v3", "/api/v3/completions"),
        ("http://h/api/v3", "/v3", "/api/v3/completions"),
        ("http://h/api/v3", "/api/v3", "/api/v3/completions"),
        ("http://h/v2", "/v1", "/v2/v1/completions"),
        ("http://h/v1", "", "/v1/completions"),
        ("http://h", "", "/completions"),
        ("http://h/models", "/", "/models/completions"),
        ("http://h", "/openai/d?api-version=1", "/openai/d/completions?api-version=1"),
        ("http://[::1]:8000", None, "/v1/completions"),
    ],
)
def test_where_the_api_is(base_url: str, path: str | None, requested: str) -> None:
    root, api_path = split_api_path(check_base_url("engine.base_url", base_url), path)
    head, _ = parts(encoded(completions(root, api_path=api_path), "hi"))
    assert head[0].decode() == f"POST {requested} HTTP/1.1"
    assert f"Host: {urlsplit(base_url).netloc}".encode() in head


def test_an_endpoint_apart_from_the_openai_api_keeps_its_path() -> None:
    class Rerank(Api):
        path = "/rerank"

        def own_body(self, prompt: Any, output_tokens: int) -> dict[str, Any]:
            return {"prompt": prompt.text}

    head, _ = parts(encoded(Endpoint(base_url="http://h/a", api=Rerank(), api_path="/v3"), "hi"))
    assert head[0] == b"POST /a/rerank HTTP/1.1"


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
    for number, (text, tokens) in enumerate(prompts):
        text += "long" * (LONG_BYTES if number % 3 == 1 else 0)
        whole.append(encoded(completions(model='"prompt":'), text, tokens))
        requests.add(whole[-1], 1, tokens)
    for part in range(dealt):
        some = requests.every_nth(part, dealt)
        assert [some.take(i) for i in range(len(some))] == whole[part::dealt]
        assert list(some.output_tokens) == [tokens for _, tokens in prompts][part::dealt]
    assert [requests.take(i) for i in range(len(requests))] == whole


def test_any_bytes_are_kept_as_they_are() -> None:
    requests = Requests()
    odd = (
        b"",
        b"x" * (LONG_BYTES + 1),
        b"GET / HTTP/1.1\r\n\r\n",
        b'POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"prompt":"',
    )
    for request in odd:
        requests.add(request, 1, 1)
    assert tuple(requests.take(i) for i in range(len(requests))) == odd


def test_memory_of_sent_requests_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchhydra.client.request_store.BLOCK_ROWS", 4)
    requests = Requests()
    for i in range(10):
        requests.add(b"%d" % i, 1, 1)
    assert [requests.take(i) for i in (3, 0, 1, 9)] == [b"3", b"0", b"1", b"9"]
    long = b"x" * (LONG_BYTES + 1)
    requests.add(long, 1, 1)
    assert requests.slow_to_take
    assert [len(block) for block in requests.blocks] == [4, 4, 2]
    assert [requests.take(i) for i in (2, 8, 10)] == [b"2", b"8", long]
    assert [len(block) for block in requests.blocks] == [0, 4, 0] and not requests.long


@pytest.mark.parametrize("api", [Completions(), Chat()], ids=["completions", "chat"])
def test_the_shared_part_of_requests_is_stored_once(api: Api) -> None:
    requests = Requests(prompt_key=api.prompt_key)
    endpoint = Endpoint(base_url="http://h", api=api, headers={"X": "y" * 1000})
    for i in range(50):
        requests.add(encoded(endpoint, f"prompt {i}", 8), 2, 8)
    assert sum(map(len, requests.blocks)) < 50 * 60
