"""Events with usage that are like an earlier stream's: read without JSON, and always with the same outcome."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra.client.apis import Usage, usage_anomalies, usage_of
from benchhydra.client.apis.chat import Chat
from benchhydra.client.chunk_template import TemplateLearner
from benchhydra.client.usage_template import UsageTemplate

#: As vLLM, llama.cpp and SGLang write it: with other keys, in another order, with spaces.
EVENTS: dict[str, dict[str, Any]] = {
    "vllm": {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 1764150000,
        "model": "tiny",
        "choices": [],
        "usage": {"prompt_tokens": 112, "total_tokens": 176, "completion_tokens": 64, "prompt_tokens_details": None},
    },
    "llama.cpp": {
        "choices": [],
        "created": 1764150000,
        "id": "chatcmpl-ABC",
        "model": "tiny",
        "usage": {"completion_tokens": 64, "prompt_tokens": 112, "total_tokens": 176},
    },
    "without an id": {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 1}},
}


def encoded(event: dict[str, Any], *, compact: bool = True) -> bytes:
    return json.dumps(event, separators=(",", ":") if compact else None).encode()


def learnt(event: dict[str, Any], *, compact: bool = True) -> UsageTemplate:
    template = UsageTemplate.learn(encoded(event, compact=compact), Chat())
    assert template is not None
    return template


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("name", EVENTS)
def test_other_ids_times_and_counts_are_read(name: str, compact: bool) -> None:
    event = EVENTS[name]
    usage = event["usage"] | {"prompt_tokens": 7, "completion_tokens": 2048, "total_tokens": 2055}
    other = event | {"usage": usage} | ({"id": "chatcmpl-x_Y-9", "created": 1864150001} if "id" in event else {})
    assert learnt(event, compact=compact).read(encoded(other, compact=compact)) == Usage(7, 2048)


@given(
    st.sampled_from(sorted(EVENTS)),
    st.tuples(*[st.one_of(st.integers(-2, 2**33), st.none(), st.booleans(), st.floats(0, 9), st.text())] * 3),
    st.booleans(),
)
def test_what_is_read_is_what_the_json_says(name: str, counts: tuple[Any, ...], adds_up: bool) -> None:
    prompt, output, total = counts
    if adds_up and type(prompt) is type(output) is int:
        total = prompt + output
    event = EVENTS[name]
    keys = ("prompt_tokens", "completion_tokens", "total_tokens")
    other = event | {"usage": event["usage"] | dict(zip(keys, (prompt, output, total), strict=True))}
    usage = learnt(event).read(encoded(other))
    if usage is not None:
        assert usage == usage_of(other)
        assert not usage_anomalies(other)
    elif type(prompt) is type(output) is type(total) is int and total == prompt + output:  # False == 0 is no count
        assert not 0 <= prompt < 10**9 or not 0 <= output < 10**9 or not total < 10**9


@pytest.mark.parametrize(
    "change",
    [
        {"model": "huge"},
        {"choices": [{"text": "a"}]},
        {"error": "boom"},
        {"usage": {"prompt_tokens": 112, "total_tokens": 176, "completion_tokens": 65, "prompt_tokens_details": None}},
        {"usage": {"prompt_tokens": 112, "total_tokens": 176, "completion_tokens": 64, "prompt_tokens_details": {}}},
    ],
)
def test_an_event_with_anything_else_is_left_to_the_json(change: dict[str, Any]) -> None:
    assert learnt(EVENTS["vllm"]).read(encoded(EVENTS["vllm"] | change)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        {"usage": None},
        {"error": "boom"},
        {"nested": {"total_tokens": 3}, "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}},
        {"usage": {"details": {"prompt_tokens": 1}, "prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}},
    ],
)
def test_nothing_is_learnt_from_an_event_whose_counts_are_not_proven(change: dict[str, Any]) -> None:
    event = {key: value for key, value in EVENTS["vllm"].items() if key not in change}
    assert UsageTemplate.learn(encoded(change | event), Chat()) is None


def test_a_server_whose_events_always_differ_is_not_learnt_from_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bytes] = []
    monkeypatch.setattr(UsageTemplate, "learn", lambda data, api: calls.append(data))
    learner = TemplateLearner(Chat())
    for _ in range(100):
        learner.learn_usage(b"{}")
    assert len(calls) == 8
