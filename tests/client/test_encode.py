"""Requests as bytes, and their compact store."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra.client import Endpoint, Requests
from benchhydra.client.request_encoding import encode_request


def parts(request: bytes) -> tuple[list[bytes], dict[str, Any]]:
    head, _, body = request.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), json.loads(body)


def test_a_completions_request() -> None:
    endpoint = Endpoint(base_url="http://h:1/v1", model="m", headers={"Authorization": "Bearer k"})
    head, body = parts(encode_request(endpoint, "hi", None, 7, {"ignore_eos": True, "temperature": 0.0}))
    assert head[0] == b"POST /v1/completions HTTP/1.1"
    assert {
        b"Host: h:1",
        b"Authorization: Bearer k",
        b"Content-Length: %d" % len(json.dumps(body, separators=(",", ":"))),
    }
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
    endpoint = Endpoint(base_url="https://h", api="chat", model="m", stream=False)
    head, body = parts(encode_request(endpoint, "hi", None, 7, {}))
    assert head[0] == b"POST /v1/chat/completions HTTP/1.1"
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert body["stream"] is False and "stream_options" not in body


def test_a_header_cannot_break_out() -> None:
    with pytest.raises(ValueError, match="control character"):
        encode_request(Endpoint(base_url="http://h", headers={"A": "b\r\nC: d"}), "", None, 1, {})


def test_the_secret_is_not_in_any_repr() -> None:
    endpoint = Endpoint(base_url="http://h", headers={"Authorization": "Bearer secret"})
    requests = Requests()
    requests.add(encode_request(endpoint, "hi", None, 1, {}), 1, 1)
    assert "secret" not in repr(endpoint) + repr(requests)


@given(st.lists(st.tuples(st.text(max_size=40), st.integers(1, 9)), max_size=20), st.integers(1, 4))
def test_what_is_added_comes_out(prompts: list[tuple[str, int]], dealt: int) -> None:
    requests, whole = Requests(), []
    for text, tokens in prompts:
        whole.append(encode_request(Endpoint(base_url="http://h", model='"prompt":'), text, None, tokens, {}))
        requests.add(whole[-1], 1, tokens)
    for part in range(dealt):
        some = requests.deal(part, dealt)
        assert [some.take(i) for i in range(len(some))] == whole[part::dealt]
        assert list(some.output_tokens) == [tokens for _, tokens in prompts][part::dealt]
    assert [requests.take(i) for i in range(len(requests))] == whole


def test_any_bytes_are_kept_as_they_are() -> None:
    requests = Requests()
    odd = b"", b"GET / HTTP/1.1\r\n\r\n", b'POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"prompt":"'
    for request in odd:
        requests.add(request, 1, 1)
    assert tuple(requests.take(i) for i in range(len(requests))) == odd


def test_what_was_sent_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchhydra.client.BLOCK_ROWS", 4)
    requests = Requests()
    for i in range(10):
        requests.add(b"%d" % i, 1, 1)
    assert [requests.take(i) for i in (3, 0, 1, 9)] == [b"3", b"0", b"1", b"9"]
    assert [len(block) for block in requests.blocks] == [4, 4, 2]
    assert [requests.take(i) for i in (2, 8)] == [b"2", b"8"]
    assert [len(block) for block in requests.blocks] == [0, 4, 0]


def test_what_requests_share_is_kept_once() -> None:
    requests = Requests()
    endpoint = Endpoint(base_url="http://h", headers={"X": "y" * 1000})
    for i in range(50):
        requests.add(encode_request(endpoint, f"prompt {i}", None, 8, {}), 2, 8)
    assert sum(map(len, requests.blocks)) < 50 * 40
