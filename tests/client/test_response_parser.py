"""The parser over every split of real and broken streams."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchhydra.client.apis import Api
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.completions import Completions
from benchhydra.client.chunk_template import TemplateLearner
from benchhydra.client.http_framing import HttpFraming
from benchhydra.client.response import Response
from benchhydra.client.response_parser import ResponseParser
from benchhydra.records import Status

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(text: str, **more: Any) -> bytes:
    return json.dumps({"id": "c-1", "choices": [{"index": 0, "text": text, "finish_reason": None}], **more}).encode()


def delta(**fields: Any) -> bytes:
    return json.dumps({"id": "c-1", "choices": [{"index": 0, "delta": fields}]}).encode()


def usage(prompt: int, output: int) -> bytes:
    counts = {"prompt_tokens": prompt, "completion_tokens": output}
    return json.dumps({"id": "c-1", "choices": [], "usage": counts}).encode()


def stream(*events: bytes, newline: bytes = b"\n") -> bytes:
    return b"".join(b"data: " + event + newline * 2 for event in events)


def chunked(*bodies: bytes) -> bytes:
    return HEAD + b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies) + b"0\r\n\r\n"


def each(*events: bytes, newline: bytes = b"\n") -> bytes:
    """One HTTP chunk an event, as servers write them."""
    return chunked(*(stream(event, newline=newline) for event in events))


def facts(answer: Response) -> tuple[Any, ...]:
    return answer.chunks, answer.complete, answer.status, answer.prompt_tokens, answer.output_tokens, answer.texts


LEARNERS: dict[type[Api], TemplateLearner] = {
    cls: TemplateLearner(cls()) for cls in (Completions, Chat)
}  # one for all connections of an endpoint


def parser(api: type[Api] = Completions, **options: Any) -> ResponseParser:
    return ResponseParser(api(), LEARNERS[api], **options)


def fed(*parts: bytes, api: type[Api] = Completions, end: str | None = None, **options: Any) -> Response:
    response = parser(api, **options)
    counted = sum(response.feed(part) for part in parts)
    if end is not None:
        response.end(end)
    assert counted == response.response.chunks
    return response.response


D = b"[DONE]"
CHATS = ("role first", "reasoning", "tool calls")
CASES: dict[str, tuple[bytes, int, Status | None]] = {
    "completions": (each(chunk(" a"), chunk(" b"), chunk(" c"), usage(5, 3), D), 3, None),
    "empty texts": (each(chunk(""), chunk(" b"), chunk(""), chunk(" c"), usage(5, 2), D), 2, None),
    "role first": (
        each(delta(role="assistant", content=""), delta(content="x"), delta(content="y"), delta(), D),
        2,
        None,
    ),
    "reasoning": (each(delta(reasoning_content="x"), delta(reasoning="y"), delta(content="z"), D), 3, None),
    "tool calls": (each(delta(tool_calls=[{"index": 0}]), delta(tool_calls=[]), D), 1, None),
    "crlf": (each(chunk(" a"), chunk(" b"), D, newline=b"\r\n"), 2, None),
    "cr": (each(chunk(" a"), chunk(" b"), D, newline=b"\r"), 2, None),
    "one body": (chunked(stream(chunk(" a"), chunk(" b"), chunk(" c"), D)), 3, None),
    "event over bodies": (
        chunked(stream(chunk(" a"), chunk(" b"))[:-20], stream(chunk(" b"))[-20:] + stream(D)),
        2,
        None,
    ),
    "comments": (chunked(b": ping\n\n", stream(chunk(" a")), b":\n\n", stream(chunk(" b")), stream(D)), 2, None),
    "multi-line data": (chunked(b'data: {"choices":\ndata: [{"text": "a"}]}\n\n', stream(D)), 1, None),
    "content after done": (each(chunk(" a"), chunk(" b"), D, chunk(" c"), chunk(" d")), 2, None),
    "no blank after done": (chunked(stream(chunk(" a")), b"data: [DONE]"), 1, None),
    "error event": (each(chunk(" a"), b'{"error": {"message": "out of memory"}}', D), 1, Status.ERROR_EVENT),
    "not json": (each(chunk(" a"), b"{broken", D), 1, Status.MALFORMED),
    "not an object": (each(b"[1]", D), 0, Status.MALFORMED),
    "no events": (chunked(b'{"hello": 1}'), 0, Status.MALFORMED),
    "early end": (each(chunk(" a"), chunk(" b")), 2, Status.EARLY_END),
    "empty": (chunked(), 0, Status.EARLY_END),
    "404": (b'HTTP/1.1 404 Not Found\r\ncontent-length: 23\r\n\r\n{"error":{"message":1}}', 0, Status.HTTP_4XX),
    "503": (b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy", 0, Status.HTTP_5XX),
    "redirect": (b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", 0, Status.MALFORMED),
    "continue first": (b"HTTP/1.1 100 Continue\r\n\r\n" + each(chunk("a"), D), 1, None),
}


def api_of(name: str) -> type[Api]:
    return Chat if name in CHATS else Completions


@pytest.mark.parametrize("name", CASES)
def test_every_two_way_split_gives_the_same(name: str) -> None:
    data, chunks, status = CASES[name]
    api = api_of(name)
    whole = fed(data, api=api)
    assert (whole.chunks, whole.complete, whole.status) == (chunks, True, status)
    for at in range(1, len(data)):
        assert facts(fed(data[:at], data[at:], api=api)) == facts(whole), at


@given(st.data(), st.sampled_from(sorted(CASES)), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_split_gives_the_same(data: st.DataObject, name: str, keep_text: bool) -> None:
    raw = CASES[name][0]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=30)))
    parts = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    api = api_of(name)
    assert facts(fed(*parts, api=api, keep_text=keep_text)) == facts(fed(raw, api=api, keep_text=keep_text))


class Counting:
    """A parser that counts the bodies that httptools hands over."""

    def __init__(self, api: type[Api], monkeypatch: pytest.MonkeyPatch) -> None:
        self.bodies = 0
        on_body = HttpFraming.on_body

        def counted(framing: HttpFraming, body: bytes) -> None:
            self.bodies += 1
            on_body(framing, body)

        monkeypatch.setattr(HttpFraming, "on_body", counted)
        self.parser = parser(api)
        self.response = self.parser.response

    def feed(self, data: bytes) -> int:
        return self.parser.feed(data)


ROLE = stream(delta(role="assistant", content=""))
TEXTS = [" x" * (n % 7 + 1) for n in range(64)]
EVENTS: dict[type[Api], list[bytes]] = {
    Completions: [b"%x\r\n%b\r\n" % (len(one), one) for one in (stream(chunk(text)) for text in TEXTS)],
    Chat: [b"%x\r\n%b\r\n" % (len(one), one) for one in (stream(delta(content=text)) for text in TEXTS)],
}
LAST = chunked(stream(usage(5, 65)), stream(D)).removeprefix(HEAD)


@pytest.mark.parametrize("api", EVENTS)
def test_chunks_of_text_are_counted_without_httptools_where_a_packet_is_one(
    api: type[Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, events = Counting(api, monkeypatch), EVENTS[api]
    assert [counting.feed(packet) for packet in (HEAD + events[0], *events[1:])] == [1] * 64
    assert counting.bodies == 1
    assert counting.feed(events[1] + LAST) == 1
    answer = counting.response
    assert (answer.complete, answer.chunks, answer.output_tokens, counting.bodies) == (True, 65, 65, 3)


@pytest.mark.parametrize(
    ("api", "role"),
    [(Completions, b""), (Chat, b"%x\r\n%b\r\n" % (len(ROLE), ROLE))],
    ids=["completions", "chat"],
)
def test_chunks_of_text_are_counted_without_httptools_where_a_packet_begins_with_several(
    api: type[Api], role: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, events = Counting(api, monkeypatch), EVENTS[api]
    packets = (HEAD + role + b"".join(events[:20]), b"".join(events[20:40]), b"".join(events[40:]) + LAST)
    assert [counting.feed(packet) for packet in packets] == [20, 20, 24]
    assert (counting.response.complete, counting.response.chunks, counting.response.output_tokens) == (True, 64, 65)
    assert counting.bodies == (4 if role else 3)  # the role, the first text, usage, [DONE]


def event(identity: str, text: str, **more: Any) -> bytes:
    return chunk(text, **more).replace(b'"c-1"', b'"%b"' % identity.encode())


def test_a_first_event_like_another_stream_s_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    fed(each(event("cmpl-1", " a"), event("cmpl-1", " b"), D))
    monkeypatch.setattr("benchhydra.client.response.decode", None)  # nobody may call it
    answer = fed(each(event("cmpl-22", " b"), event("cmpl-22", " a"), D))
    assert (answer.chunks, answer.complete, answer.status) == (2, True, None)


UNLIKE = {
    "empty text": (event("x2", ""), 1, None),
    "an id with an end": (event(r"x\"2", " a"), 2, None),
    "an id that is no JSON": (event("x\n2", " a").replace(b"\n", b"\x01"), 1, Status.MALFORMED),
    "an error": (event("x2", " a", error={"message": "no"}), 1, Status.ERROR_EVENT),
    "a text that is no JSON": (event("x2", " a").replace(b'" a"', b'"\\a"'), 1, Status.MALFORMED),
    "a text and more": (event("x2", " a").replace(b'" a"', b'" a" "b"'), 1, Status.MALFORMED),
    "usage": (event("x2", " a", usage={"prompt_tokens": 5, "completion_tokens": 2}), 2, None),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_a_first_event_that_is_not_like_another_stream_s_is_parsed(name: str) -> None:
    first, chunks, status = UNLIKE[name]
    for text in (" a", " b"):
        fed(each(event("x1", text), D))
    answer = fed(each(first, event("x2", " b"), D))
    assert (answer.chunks, answer.status) == (chunks, status)
    assert answer.output_tokens == (2 if name == "usage" else -1)


def test_usage_is_never_taken_from_another_stream() -> None:
    for tokens in (1, 2, 2):
        answer = fed(each(event("x", " a", usage={"prompt_tokens": 5, "completion_tokens": tokens}), D))
        assert answer.output_tokens == tokens


@pytest.mark.parametrize(("line", "chunk_bytes"), [(b"100\r\n", 263), (b"1000\r\n", 4104)])
def test_impossible_chunk_lengths_are_not_matched(line: bytes, chunk_bytes: int) -> None:
    """One byte less than the shortest with a size of three, or four, digits."""
    template = LEARNERS[Completions].learn(chunk("a"))
    before, after = stream(chunk("a")).split(b'"a"')

    def packet(begin: bytes, count: int) -> bytes:
        return begin + before + b'"%b"' % (b"x" * (count - len(begin + before + after) - 4)) + after + b"\r\n"

    assert template is not None
    assert template.is_chunk(packet(line, chunk_bytes))
    assert not template.is_chunk(packet(b"\0", chunk_bytes - 1))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_chunk_counts_the_same_in_one_packet_and_byte_by_byte(data: st.DataObject) -> None:
    """Line ends anywhere, and anything in what the fast path looks at: sizes, beginnings and ends of events."""
    texts = data.draw(st.lists(st.sampled_from([" a", "", " }", "\\n", " é", "x" * 300]), min_size=2, max_size=4))
    raw = bytearray()
    frames: list[int] = []
    for body in (stream(chunk(text)) for text in texts):
        text = body.index(b'"text": "') + 8
        begin = len(raw)
        raw += b"%x\r\n%b\r\n" % (len(body), body)
        frames += [*range(begin, len(raw) - len(body) - 2 + text), *range(len(raw) - 5, len(raw))]
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.sampled_from(b"\r\n"))
        else:
            raw[data.draw(st.sampled_from(frames))] = data.draw(st.sampled_from(b'"}:0f;'))
    raw += b"0\r\n\r\n"
    first = each(chunk("b")).removesuffix(b"0\r\n\r\n")
    whole = fed(first, bytes(raw), end="")
    assert facts(whole) == facts(fed(first, *(bytes([byte]) for byte in raw), end=""))


@given(st.lists(st.text(max_size=8), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_counts_and_texts_are_those_of_the_json(texts: list[str]) -> None:
    raw = each(*(chunk(text) for text in texts), D)
    assert fed(raw).chunks == sum(bool(text) for text in texts)
    assert "".join(fed(raw, keep_text=True).texts) == "".join(texts)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_garbage_never_raises_and_is_never_ok(garbage: bytes) -> None:
    for answer in (
        fed(garbage, end=""),
        fed(HEAD + garbage, end=""),
        fed(chunked(b"data: " + garbage, b"\n\n"), end=""),
    ):
        assert answer.complete
        assert answer.status is not None or answer.output_tokens == -1


@pytest.mark.parametrize("end", ["", "ECONNRESET"])
def test_a_cut_connection_is_a_reset(end: str) -> None:
    raw = each(chunk(" a"), chunk(" b"), D)
    for at in range(len(raw)):
        assert fed(raw[:at], end=end).status is Status.RESET, at


def test_a_server_that_closes_after_an_answer_is_explained() -> None:
    """Only before any byte of the next answer: otherwise the server meant to answer."""
    response = parser()
    first = each(chunk(" a"), usage(1, 1), D)
    response.feed(first)
    response.begin()
    response.end()
    assert "engine.keep_alive=false" in response.response.error
    assert "keep_alive" not in fed(b"", end="").error
    response = parser()
    response.feed(first)
    response.begin()
    response.feed(first[:30])
    response.end()
    assert response.response.error == "connection closed in the middle of the answer"


def test_continuous_usage_comes_from_the_last_content_event() -> None:
    events = [chunk(" a", usage={"prompt_tokens": 4, "completion_tokens": n}) for n in (1, 2, 7)]
    answer = fed(each(*events, D))
    assert (answer.prompt_tokens, answer.output_tokens, answer.chunks) == (4, 7, 3)


def test_usage_that_is_absent_is_unknown() -> None:
    assert fed(each(chunk(" a"), D)).output_tokens == -1


def test_a_body_without_length_ends_with_its_connection() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    answer = fed(head + stream(chunk(" a"), D), end="")
    assert (answer.status, answer.chunks, answer.keep_alive) == (None, 1, False)


def test_the_next_answer_on_the_same_connection() -> None:
    response = parser()
    response.feed(each(chunk(" a"), chunk(" b"), usage(1, 2), D))
    assert response.response.keep_alive
    response.begin()
    response.feed(each(chunk(" c"), D))
    assert facts(response.response) == (1, True, None, -1, -1, [])


def test_a_refusal_between_two_streams_does_not_affect_the_second() -> None:
    response = parser()
    for _ in range(2):
        response.feed(each(chunk(" a"), chunk(" b"), usage(1, 2), D))
        assert facts(response.response) == (2, True, None, 1, 2, [])
        response.begin()
        response.feed(CASES["503"][0])
        assert (response.response.status, response.response.error) == (Status.HTTP_5XX, "HTTP 503: busy")
        response.begin()


def test_an_answer_that_is_one_document() -> None:
    body = json.dumps({"choices": [{"text": "hi"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}).encode()
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    for at in range(1, len(raw)):
        answer = fed(raw[:at], raw[at:], stream=False, keep_text=True)
        assert facts(answer) == (1, True, None, 3, 2, ["hi"])
