"""Which answers count as completed: tables of streams and documents as servers send them, right and wrong ones."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from benchhydra.client import event_stream, http_framing
from benchhydra.client.apis import Api, is_blank, is_normal_end, looks_like_error
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.completions import Completions
from benchhydra.client.chunk_template import TemplateLearner
from benchhydra.client.model_names import same_model
from benchhydra.client.response import Response
from benchhydra.client.response_parser import ResponseParser
from benchhydra.records import Anomaly, Status

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def event(document: Any, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(document).encode() + b"\n\n"


def text(value: Any, finish: Any = None, **more: Any) -> bytes:
    choice = {"index": 0, "text": value, "logprobs": None, "finish_reason": finish}
    return event({"id": "cmpl-1", "model": "tiny", "choices": [choice], **more})


def delta(finish: Any = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    return event({"id": "c-1", "model": "tiny", "choices": [choice]})


def usage(prompt: Any, output: Any, total: Any = None, **more: Any) -> bytes:
    counts = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": total, **more}
    return event(
        {"id": "c-1", "model": "tiny", "choices": [], "usage": {k: v for k, v in counts.items() if v is not None}}
    )


END = text("", "length") + usage(5, 3, 8) + DONE
THREE = text(" a") + text(" b") + text(" c")


def chunked(*bodies: bytes) -> bytes:
    return HEAD + b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies if body) + b"0\r\n\r\n"


def each_event(raw: bytes) -> bytes:
    """One HTTP chunk an event, as servers write them."""
    return chunked(*(part + b"\n\n" for part in raw.split(b"\n\n")[:-1]))


def packets(raw: bytes) -> list[bytes]:
    """One packet an event; the head comes with the first."""
    chunks = [each_event(part + b"\n\n")[len(HEAD) : -5] for part in raw.split(b"\n\n")[:-1]]
    return [HEAD + chunks[0], *chunks[1:], b"0\r\n\r\n"]


def answer_of(
    *raw: bytes, api: type[Api] = Completions, learner: TemplateLearner | None = None, **options: Any
) -> Response:
    parser = ResponseParser(api(), learner or TemplateLearner(api()), model="tiny", **options)
    for part in raw:
        parser.feed(part)
    parser.end()
    return parser.response


def outcome(response: Response) -> tuple[Any, ...]:
    return response.status, response.chunks, Anomaly(response.anomalies)


OK = (None, 3, Anomaly(0))
EMPTY = (Status.EMPTY, 0, Anomaly(0))
BLANK, SILENT = (None, 3, Anomaly.BLANK), (None, 0, Anomaly.BLANK)
ABORTED, OTHER = (Status.ABORTED, 3, Anomaly(0)), (Status.OTHER_MODEL, 3, Anomaly(0))
FAULTY = (Status.ERROR_EVENT, Status.MALFORMED)
EARLY, ERROR = (Status.EARLY_END, 3, Anomaly(0)), (Status.ERROR_EVENT, 3, Anomaly(0))
#: stream -> (status, chunks, anomalies)
STREAMS: dict[str, tuple[bytes, tuple[Status | None, int, Anomaly]]] = {
    "plain": (THREE + END, OK),
    "the finish reason with the last text": (text(" a") + text(" b") + text(" c", "stop") + usage(5, 3) + DONE, OK),
    "no end mark": (THREE + text("", "length") + usage(5, 3, 8), OK),
    "no end mark, the finish reason with the last text": (text(" a") + text(" b") + text(" c", "length"), OK),
    "no end mark, finish reason as an object": (THREE + text("", {"type": "eos_token"}), OK),
    "neither end mark nor finish reason": (THREE + usage(5, 3, 8), EARLY),
    "finish reason of no text": (THREE + text("", "") + text("", None), EARLY),
    "finish reason of no text, end mark": (THREE + text("", "") + DONE, OK),
    # heartbeats
    "empty data": (b"data: \n\ndata:\n\n" + THREE + b"data\n\n" + END, OK),
    "pings": (b"event: ping\ndata: 1764128000\n\n" + THREE + b"event: heartbeat\ndata: still here\n\n" + END, OK),
    "pings that are JSON": (event({"type": "ping"}, "ping") + event({"type": "ping"}) + THREE + END, OK),
    "pings with a message": (
        event({"type": "ping", "message": "hi"}) + THREE + event({"message": "m"}, "log") + END,
        OK,
    ),
    "pings without a type": (b"data: [PING]\n\n" + THREE + b"data: keep-alive\n\ndata: null\n\n" + END, OK),
    "an empty object": (b"data: {}\n\n" + THREE + END, OK),
    "metadata": (event({"id": "1", "object": "x", "model": "tiny", "choices": None}) + THREE + END, OK),
    "content filter results": (
        event({"choices": [], "model": "", "prompt_filter_results": [{"i": 0}]}) + THREE + END,
        OK,
    ),
    "named events": (THREE.replace(b"data:", b"event: message\ndata:") + END, OK),
    "events of a name that nobody knows": (THREE.replace(b"data:", b"event: chunk\ndata:") + END, OK),
    # what strict JSON forbids
    "not a number": (THREE.replace(b'"logprobs": null', b'"logprobs": [NaN, -Infinity]') + END, OK),
    "half characters": (
        text("@").replace(b"@", rb"\ud83d") + text("@").replace(b"@", rb"\ude00") + text(" c") + END,
        OK,
    ),
    "bytes that are not UTF-8": (
        text("@").replace(b"@", b"\xf0\x9f") + text("@").replace(b"@", b"\x98\x80") * 2 + END,
        OK,
    ),
    # a byte order mark
    "a byte order mark": (b"\xef\xbb\xbf" + THREE + END, OK),
    # empty answers
    "nothing": (DONE, EMPTY),
    "usage of 0 tokens": (text("", "stop") + usage(5, 0, 5) + DONE, EMPTY),
    "no text, though usage has tokens": (text("") + text("", "length") + usage(5, 3, 8) + DONE, EMPTY),
    "null text": (text(None) * 3 + END, EMPTY),
    "no choices": (event({"choices": []}) * 3 + usage(5, 3) + DONE, EMPTY),
    "choices that are null": (event({"choices": None}) * 3 + usage(5, 3) + DONE, EMPTY),
    "no keys": (event({"choices": [{}]}) * 3 + usage(5, 3) + DONE, EMPTY),
    "white space": (text(" ") + text("\n\n") + text("\t") + END, BLANK),
    "white space and special tokens": (text("") + text(" ") * 3 + END, BLANK),
    "special tokens": (text("") * 3 + END, SILENT),
    "fewer blanks than tokens": (
        text(" ") * 2 + text(None, "length") + usage(5, 3) + DONE,
        (Status.EMPTY, 2, Anomaly(0)),
    ),
    "blanks without usage": (text(" ") * 3 + text("", "stop") + DONE, (Status.EMPTY, 3, Anomaly(0))),
    "blanks and a usage of 0 tokens": (text(" ") * 3 + usage(5, 0) + DONE, (Status.EMPTY, 3, Anomaly(0))),
    "zero-width characters": (text("\u200b") * 3 + END, BLANK),
    "white space, then text": (text("\n") + text(" ") + text("x") + END, OK),
    "text, then white space": (text("x") + text(" ") + text("\n") + END, OK),
    # aborted answers
    "aborted at once": (text("", "abort") + usage(5, 0, 5) + DONE, (Status.ABORTED, 0, Anomaly(0))),
    "aborted later": (THREE + text("", "abort") + usage(5, 3, 8) + DONE, ABORTED),
    "aborted with the last text": (text(" a") + text(" b") + text(" c", "error") + DONE, ABORTED),
    "an end that nobody knows": (THREE + text("", "engine_dead") + END, ABORTED),
    "content filter": (THREE + text("", "content_filter") + DONE, ABORTED),
    "normal ends of other servers": (THREE + text("", "eos_token") + DONE, OK),
    "normal ends in capitals": (THREE + text("", "MAX_TOKENS") + DONE, OK),
    # another model
    "another model": (THREE.replace(b"tiny", b"huge-70b") + END, OTHER),
    "another model from the second event on": (text(" a") + text(" b", model="huge") * 2 + END, OTHER),
    "another model in usage only": (THREE + END.replace(b"tiny", b"huge"), OTHER),
    "the model with a date": (THREE.replace(b"tiny", b"tiny-2024-08-06") + END, OK),
    "no model": (THREE.replace(b"tiny", b"") + END, OK),
    # several choices
    "two choices in an event": (
        event({"choices": [{"index": 0, "text": "a"}, {"index": 1, "text": "b"}]}) * 3 + END,
        (None, 3, Anomaly.SEVERAL_CHOICES),
    ),
    "two choices in turn": (
        text(" a") + event({"choices": [{"index": 1, "text": "b"}]}) + text(" c") + END,
        (None, 3, Anomaly.SEVERAL_CHOICES),
    ),
    "two choices whose index comes last": (
        b"".join(event({"choices": [{"text": " a", "index": index}]}) for index in (0, 1, 0)) + END,
        (None, 3, Anomaly.SEVERAL_CHOICES),
    ),
    # usage
    "total is more": (THREE + usage(5, 3, 80) + DONE, (None, 3, Anomaly.TOTAL_DIFFERS)),
    "total is less": (THREE + usage(5, 3, 1) + DONE, (None, 3, Anomaly.TOTAL_DIFFERS)),
    "reasoning is left out": (
        THREE + usage(5, 3, 8, completion_tokens_details={"reasoning_tokens": 64}) + DONE,
        (None, 3, Anomaly.TOTAL_DIFFERS),
    ),
    "reasoning is counted": (THREE + usage(5, 3, 8, completion_tokens_details={"reasoning_tokens": 2}) + DONE, OK),
    "details without reasoning": (
        THREE + usage(5, 3, 8, completion_tokens_details={"reasoning_tokens": None}) + DONE,
        OK,
    ),
    "negative tokens": (THREE + usage(-5, -3) + DONE, (None, 3, Anomaly.IMPOSSIBLE_USAGE)),
    "more tokens than 31 bits": (THREE + usage(5, 10**30) + DONE, (None, 3, Anomaly.IMPOSSIBLE_USAGE)),
    "half a token": (THREE + usage(5, 2.5) + DONE, (None, 3, Anomaly.IMPOSSIBLE_USAGE)),
    "tokens as floats": (THREE + usage(5.0, 3.0, 8.0) + DONE, OK),
    "tokens as texts": (THREE + usage("5", "3", "8") + DONE, OK),
    # repeated answers
    "the whole text again as a message": (
        THREE + event({"choices": [{"index": 0, "delta": {}, "message": {"content": " a b c"}}]}) + END,
        (None, 3, Anomaly.REPEATED),
    ),
    "the whole stream again": (THREE + text("", "stop") + THREE + END, (None, 3, Anomaly.REPEATED)),
    "text after the end mark": (THREE + END + text(" d") + DONE, (None, 3, Anomaly.REPEATED)),
    "text after the end mark, and a wrong total": (
        THREE + usage(5, 3, 1) + DONE + text(" d") + DONE,
        (None, 3, Anomaly.REPEATED | Anomaly.TOTAL_DIFFERS),
    ),
    "two end marks": (THREE + END + DONE, OK),
    "usage after the end mark": (THREE + text("", "stop") + DONE + usage(5, 3, 8), OK),
    "text after the last text": (
        text(" a") + text(" b") + text(" c", "stop") + text(" d") + DONE,
        (None, 3, Anomaly.REPEATED),
    ),
    # errors in a stream
    "an error": (THREE + event({"error": {"message": "boom"}}) + DONE, ERROR),
    "an error beside choices": (THREE + text(" d", error={"message": "boom"}) + DONE, ERROR),
    "an error in a choice": (
        THREE + event({"choices": [{"index": 0, "error": {"message": "boom"}}]}) + DONE,
        ERROR,
    ),
    "an event called error": (THREE + event({"message": "boom"}, "error") + DONE, ERROR),
    "an event called error that is no JSON": (
        THREE + b"event: upstream-error\ndata: boom\n\n" + DONE,
        ERROR,
    ),
    "an error under another name": (event({"error": "boom"}, "log") + DONE, (Status.ERROR_EVENT, 0, Anomaly(0))),
    "an event called error without data": (THREE + b"event: error\ndata:\n\n" + DONE, ERROR),
    "no JSON": (THREE + b"data: upstream timed out, boom\n\n" + DONE, (Status.MALFORMED, 3, Anomaly(0))),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_has_its_status_chunks_and_anomalies(name: str) -> None:
    raw, expected = STREAMS[name]
    assert outcome(answer_of(each_event(raw))) == expected
    assert outcome(answer_of(*packets(raw))) == expected, "packet by packet"
    assert outcome(answer_of(chunked(raw))) == expected, "in one chunk"
    assert outcome(answer_of(each_event(raw), keep_text=True)) == expected, "with text"
    assert outcome(answer_of(*(bytes([byte]) for byte in each_event(raw)))) == expected, "byte by byte"


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize(
    "before", ["plain", "white space", "another model", "aborted with the last text", "two choices in turn"]
)
def test_a_stream_is_read_the_same_after_another_one(name: str, before: str) -> None:
    """Templates are shared: what an earlier stream was like must not hide what this one is like."""
    learner = TemplateLearner(Completions())
    for _ in range(2):
        answer_of(*packets(STREAMS[before][0]), learner=learner)
    raw, expected = STREAMS[name]
    assert outcome(answer_of(*packets(raw), learner=learner)) == expected


@pytest.mark.parametrize(
    "name", [name for name, (raw, (status, _, _)) in STREAMS.items() if status in FAULTY and b"boom" in raw]
)
def test_an_error_in_a_stream_gives_the_servers_words(name: str) -> None:
    assert "boom" in answer_of(each_event(STREAMS[name][0])).error


PARTS: list[tuple[dict[str, Any], str]] = [
    ({"content": "a"}, "a"),
    ({"content": [{"type": "text", "text": "a"}]}, "a"),
    ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]}, "a"),
    ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab"),
    ({"content": ["a", "b"]}, "ab"),
    ({"content": {"type": "text", "text": "a"}}, "a"),
    ({"content": None, "reasoning_content": "a"}, "a"),
    ({"content": "", "reasoning": "a"}, "a"),
    ({"content": [], "thinking": "a"}, "a"),
    ({"reasoning_details": [{"type": "reasoning.text", "text": "a"}]}, "a"),
    ({"reasoning_details": [{"type": "reasoning.summary", "summary": "a"}]}, "a"),
    ({"content": None, "refusal": "a"}, "a"),
    ({"function_call": {"name": "f"}}, '\x1e{"name":"f"}'),
    ({"content": [{"type": "image_url", "image_url": {"url": "x"}}]}, ""),
    ({"content": [[[[[[[[["deep"]]]]]]]]]}, ""),
]


@pytest.mark.parametrize(("message", "expected"), PARTS)
def test_text_in_parts_is_text(message: dict[str, Any], expected: str) -> None:
    for form in ({"delta": message}, {"message": message}):
        assert "".join(Chat().read({"choices": [form]}).texts) == expected


def test_a_stream_of_parts_has_a_chunk_for_each() -> None:
    thinking = [
        delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": f" r{i}"}]}]) for i in range(3)
    ]
    raw = delta(role="assistant", content="") + b"".join(thinking) + delta(content=" a") * 2 + delta("stop") + DONE
    assert outcome(answer_of(*packets(raw), api=Chat)) == (None, 5, Anomaly(0))


def document(body: dict[str, Any] | bytes, **options: Any) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data)
    return answer_of(head + data, stream=False, **options)


COUNTS = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
CHOICE = {"index": 0, "text": " a b c", "finish_reason": "length"}
DOCUMENTS: dict[str, tuple[dict[str, Any] | bytes, Status | None, Anomaly]] = {
    "plain": ({"model": "tiny", "choices": [CHOICE], "usage": COUNTS}, None, Anomaly(0)),
    "no finish reason": ({"choices": [{"text": "a"}]}, None, Anomaly(0)),
    "a byte order mark": (b'\xef\xbb\xbf{"choices": [{"text": "a"}]}', None, Anomaly(0)),
    "empty": ({"choices": [{"text": "", "finish_reason": "stop"}]}, Status.EMPTY, Anomaly(0)),
    "usage of 0 tokens": (
        {
            "choices": [{"text": "", "finish_reason": "stop"}],
            "usage": COUNTS | {"completion_tokens": 0, "total_tokens": 5},
        },
        Status.EMPTY,
        Anomaly(0),
    ),
    "no text and no finish reason": ({"choices": [{"text": ""}], "usage": COUNTS}, Status.EMPTY, Anomaly(0)),
    "special tokens": ({"choices": [{"text": "", "finish_reason": "length"}], "usage": COUNTS}, None, Anomaly.BLANK),
    "blank": ({"choices": [{"text": " \n", "finish_reason": "stop"}], "usage": COUNTS}, None, Anomaly.BLANK),
    "null": ({"choices": [{"text": None}], "usage": COUNTS}, Status.EMPTY, Anomaly(0)),
    "no choices": ({"choices": [], "usage": COUNTS}, Status.EMPTY, Anomaly(0)),
    "an empty object": ({}, Status.EMPTY, Anomaly(0)),
    "aborted": ({"choices": [CHOICE | {"finish_reason": "abort"}], "usage": COUNTS}, Status.ABORTED, Anomaly(0)),
    "one choice aborted": (
        {"choices": [CHOICE | {"finish_reason": "abort"}, CHOICE], "usage": COUNTS},
        Status.ABORTED,
        Anomaly.SEVERAL_CHOICES,
    ),
    "another model": ({"model": "huge", "choices": [CHOICE], "usage": COUNTS}, Status.OTHER_MODEL, Anomaly(0)),
    "an error": ({"error": "boom"}, Status.ERROR_EVENT, Anomaly(0)),
    "a gateway's error": ({"code": 50001, "message": "boom", "success": False}, Status.ERROR_EVENT, Anomaly(0)),
    "several choices": ({"choices": [CHOICE, CHOICE | {"index": 1}], "usage": COUNTS}, None, Anomaly.SEVERAL_CHOICES),
    "total differs": ({"choices": [CHOICE], "usage": COUNTS | {"total_tokens": 3}}, None, Anomaly.TOTAL_DIFFERS),
    "two documents": (b'{"choices": [{"text": "a"}]}' * 2, Status.MALFORMED, Anomaly(0)),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_has_its_status_and_anomalies(name: str) -> None:
    body, status, anomalies = DOCUMENTS[name]
    response = document(body)
    assert (response.status, response.anomalies) == (status, anomalies)


ERRORS: list[dict[str, Any]] = [
    {"error": {"message": "boom", "code": 500}},
    {"error": "boom"},
    {"Error": "boom"},
    {"errors": [{"message": "boom"}]},
    {"object": "error", "message": "boom"},
    {"type": "error", "message": "boom"},
    {"detail": "boom"},
    {"detail": [{"loc": ["body"], "msg": "boom"}]},
    {"message": "boom"},
    {"msg": "boom"},
    {"code": 50001, "message": "boom", "success": False},
    {"code": "rate_limit_exceeded", "message": "boom"},
    {"error_code": 17, "error_msg": "boom"},
    {"errcode": 1, "errmsg": "boom"},
    {"status": 503, "title": "boom"},
    {"status": "failed", "reason": "boom"},
    {"success": False, "msg": "boom"},
    {"exception": "boom"},
    {"fault": {"faultstring": "x", "detail": "boom"}},
    {"choices": None, "base_resp": {"status_code": 1004, "status_msg": "boom"}},
    {"header": {"code": 10013, "message": "boom"}},
    {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}, "code": 500, "message": "boom"},
    {"response": {"status": "failed", "error": {"message": "boom"}}},
]
NO_ERRORS: list[dict[str, Any]] = [
    {},
    {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"},
    {"type": "ping"},
    {"type": "heartbeat", "message": "alive"},
    {"code": 0, "message": "ok"},
    {"code": 200, "msg": "success", "data": {"id": 5}},
    {"success": True, "message": "queued"},
    {"error": None, "errors": [], "base_resp": {"status_code": 0, "status_msg": ""}},
    {"status": "in_progress"},
    {"choices": [], "object": "chat.completion.chunk", "usage": {"prompt_tokens": 5}, "code": 0, "message": "success"},
    {"x_groq": {"id": "req_1"}, "timings": {"prompt_ms": 5.0}},
]


@pytest.mark.parametrize("body", ERRORS, ids=str)
def test_an_error_object_of_any_shape_is_an_error(body: dict[str, Any]) -> None:
    assert looks_like_error(body)
    for api in (Completions, Chat):
        response = answer_of(each_event(event(body) + DONE), api=api)
        assert (response.status, response.error) == (Status.ERROR_EVENT, "boom")


@pytest.mark.parametrize("body", NO_ERRORS, ids=str)
def test_a_document_without_content_is_not_an_error(body: dict[str, Any]) -> None:
    assert not looks_like_error(body)
    assert outcome(answer_of(each_event(event(body) + THREE + event(body) + END))) == OK


SAME: list[tuple[str, str]] = [
    ("tiny", "tiny"),
    ("tiny", ""),
    ("tiny", "m"),
    ("tiny", "model"),
    ("", "anything"),
    ("any", "anything"),
    ("gpt-4o", "gpt-4o-2024-08-06"),
    ("gpt-4o-2024-08-06", "gpt-4o"),
    ("gpt-4", "gpt-4-0613"),
    ("claude-3-5-sonnet", "claude-3-5-sonnet-20241022"),
    ("claude-3-5-sonnet", "claude-3-5-sonnet@20241022"),
    ("mistral-small-latest", "mistral-small-2503"),
    ("gemini-1.5-flash", "models/gemini-1.5-flash-002"),
    ("llama3", "llama3:latest"),
    ("meta-llama/Llama-3-8B", "llama-3-8b"),
    ("Llama-3-8B", "meta-llama/Llama-3-8B"),
    ("meta-llama/Llama-3-8B", "/data/models/Llama-3-8B/"),
    ("meta-llama/Llama-3-8B", "/root/.cache/huggingface/hub/models--meta-llama--Llama-3-8B/snapshots/0123abc"),
    ("qwen2.5-0.5b-q4", "/models/qwen2.5-0.5b-q4.gguf"),
]
OTHERS: list[tuple[str, str]] = [
    ("word", "totally-other-70b"),
    ("llama-3-8b", "llama-3-70b"),
    ("llama-3-8b", "llama-3-8b-instruct"),
    ("gpt-4", "gpt-4o"),
    ("gpt-4o", "gpt-4o-mini"),
    ("gpt-4o-2024-08-06", "gpt-4o-2024-11-20"),
    ("mistral-7b-v0.1", "mistral-7b-v0.2"),
    ("qwen2.5-7b", "qwen2.5-72b"),
    ("base", "base-lora"),
    ("llama3:latest", "llama2:latest"),
]


@pytest.mark.parametrize(("asked", "answered"), SAME)
def test_names_of_the_same_model(asked: str, answered: str) -> None:
    assert same_model(asked, answered)


@pytest.mark.parametrize(("asked", "answered"), OTHERS)
def test_names_of_another_model(asked: str, answered: str) -> None:
    assert not same_model(asked, answered)


def test_a_parser_without_a_model_accepts_every_name() -> None:
    parser = ResponseParser(Completions(), TemplateLearner(Completions()))
    parser.feed(each_event(THREE.replace(b"tiny", b"huge") + END))
    assert parser.response.status is None


@pytest.mark.parametrize(
    "reason", ["stop", "length", "STOP", "FinishReason.LENGTH", "FINISH_REASON_MAX_TOKENS", "end-turn"]
)
def test_normal_ends(reason: str) -> None:
    assert is_normal_end(reason)


@pytest.mark.parametrize(
    "reason", ["abort", "error", "content_filter", "cancelled", "timeout", "stopped by operator", ""]
)
def test_ends_that_are_not_normal(reason: str) -> None:
    assert not is_normal_end(reason)


@pytest.mark.parametrize(
    ("value", "blank"),
    [("", True), (" \n\t\u3000", True), ("\u200b\ufeff \x00", True), (".", False), ("\ufffd", False), ("😀", False)],
)
def test_blank_texts(value: str, blank: bool) -> None:
    assert is_blank(value) is blank


def feed_without_end(make: Callable[[int], bytes], limit: int) -> tuple[Response, int]:
    """The answer to parts that never end, and how many bytes were read of them."""
    parser = ResponseParser(Completions(), TemplateLearner(Completions()))
    read = number = 0
    while not parser.response.complete and read < limit:
        data = make(number)
        parser.feed(data)
        read, number = read + len(data), number + 1
    return parser.response, read


def endless(body: bytes) -> Callable[[int], bytes]:
    chunk = b"%x\r\n%b\r\n" % (len(body), body)
    return lambda number: chunk if number else HEAD + chunk


ENDLESS: dict[str, Callable[[int], bytes]] = {
    "a line": endless(b"a" * 100_000),
    "a line of data": endless(b"data: " + b"a" * 100_000),
    "lines of data": endless(b"data: aaaaaaaaaa\n" * 10_000),
    "empty lines of data": endless(b"data\n" * 10_000),
    "a header": lambda number: b"a" * 100_000 if number else b"HTTP/1.1 200 OK\r\nX: ",
    "headers": lambda number: b"X: " + b"a" * 1000 + b"\r\n" if number else b"HTTP/1.1 200 OK\r\n",
    "trailers": lambda number: b"X: " + b"a" * 1000 + b"\r\n" if number else HEAD + b"0\r\n",
    "early responses": lambda number: b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_ends_is_given_up_at_a_limit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "MAX_EVENT_BYTES", 3 << 20)
    monkeypatch.setattr(http_framing, "MAX_HEAD_BYTES", 1 << 20)
    response, read = feed_without_end(ENDLESS[name], limit=32 << 20)
    assert response.complete and not response.keep_alive
    assert response.status is Status.MALFORMED and "MiB" in response.error
    assert read < 4 << 20


def test_a_document_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchhydra.client.response_parser.MAX_BODY_BYTES", 1 << 20)
    parser = ResponseParser(Completions(), TemplateLearner(Completions()), stream=False)
    parser.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(20):
        parser.feed(b"a" * 100_000)
    assert (parser.response.complete, parser.response.status) == (True, Status.MALFORMED)
    assert "more than 1 MiB" in parser.response.error


@pytest.mark.parametrize("packet_bytes", [1 << 10, 1 << 16])
def test_a_large_event_is_read_in_linear_time(packet_bytes: int) -> None:
    raw = each_event(text("x" * 10_000_000) + THREE + END)
    began_s = time.process_time()
    response = answer_of(*(raw[at : at + packet_bytes] for at in range(0, len(raw), packet_bytes)))
    assert outcome(response) == (None, 4, Anomaly(0))
    assert time.process_time() - began_s < 6  # in quadratic time it takes minutes


NO_STREAMS: dict[str, tuple[bytes, Status, str]] = {
    "an error": (b'{"error": {"message": "boom"}}', Status.ERROR_EVENT, "boom"),
    "an error in lines": (json.dumps({"code": 5001, "message": "boom"}, indent=1).encode(), Status.ERROR_EVENT, "boom"),
    "a whole answer": (
        json.dumps({"choices": [CHOICE]}).encode(),
        Status.MALFORMED,
        "not an event stream: b'{\"choices",
    ),
    "a page": (b"<!DOCTYPE html>\n<html>\n</html>", Status.MALFORMED, "not an event stream: b'<!DOCTYPE html>"),
    "gzip": (gzip.compress(THREE + END), Status.MALFORMED, "compressed with gzip"),
}


@pytest.mark.parametrize("name", NO_STREAMS)
def test_an_answer_that_is_no_stream_says_what_it_is(name: str) -> None:
    body, status, words = NO_STREAMS[name]
    response = answer_of(chunked(body))
    assert response.status is status and words in response.error


def test_half_characters_never_reach_texts() -> None:
    """They cannot be written as UTF-8."""
    raw = text("@").replace(b"@", rb"a\ud83d") + text("\U0001f600") + text("@").replace(b"@", rb"\\ud83d") + END
    texts = answer_of(each_event(raw), keep_text=True).texts
    assert texts == ["a\ufffd", "\U0001f600", r"\ud83d"]
    failed = answer_of(each_event(b'data: {"error": "\\ud83d"}\n\n'))
    assert failed.error.encode() == "\ufffd".encode()


def test_a_status_without_a_body_says_so() -> None:
    assert answer_of(b"HTTP/1.1 204 No Content\r\n\r\n").error == "HTTP 204: no body"


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (b"http://other:8000/v1/completions", "engine.base_url=http://other:8000"),
        (b"https://host/api/v1/completions?key=SECRET", "engine.base_url=https://host/api"),
        (b"/v2/completions", "engine.base_url=http://HOST:PORT/v2"),
    ],
)
def test_a_redirect_says_where_to(location: bytes, words: str) -> None:
    raw = b"HTTP/1.1 307 X\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % location
    response = answer_of(raw)
    assert response.error.startswith("HTTP 307: redirects to ") and response.error.endswith(words)
    assert "SECRET" not in response.error


@pytest.mark.parametrize("status", [b"204 No Content", b"301 Moved"])
def test_other_statuses_without_a_location_fail(status: bytes) -> None:
    assert answer_of(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status).status is Status.MALFORMED
