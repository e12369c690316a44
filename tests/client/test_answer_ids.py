"""A whole answer that comes a second time is not taken for the answer to the next request."""

from __future__ import annotations

import pytest

from benchhydra.client.answer_ids import AnswerIds, find_answer_id
from benchhydra.client.apis.completions import Completions
from benchhydra.client.chunk_template import TemplateLearner
from benchhydra.client.response_parser import ResponseParser
from benchhydra.records import Status

A, B, C = ("cmpl-" + letter * 32 for letter in "abc")
SHORT = "cmpl-17"


def answer(identity: str, *, stream: bool) -> bytes:
    body = f'{{"id": "{identity}", "choices": [{{"index": 0, "text": "one", "finish_reason": "stop"}}]}}'
    kind, body = ("text/event-stream", f"data: {body}\n\ndata: [DONE]\n\n") if stream else ("application/json", body)
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


def statuses(answers: list[tuple[int, str]], *, stream: bool) -> list[Status | None]:
    """Return how answers ended: each with the number of its connection, and its id."""
    learner, ids = TemplateLearner(Completions()), AnswerIds()
    parsers: dict[int, ResponseParser] = {}
    ended = []
    for connection, identity in answers:
        parser = parsers.setdefault(connection, ResponseParser(Completions(), learner, ids, stream=stream))
        parser.begin()
        parser.feed(answer(identity, stream=stream))
        assert parser.response.complete
        ended.append(parser.response.status)
    return ended


AGAIN = Status.MALFORMED


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "document"])
@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(1, A), (2, B), (1, A)], [None, None, AGAIN]),
        ([(1, B), (1, A), (1, A)], [None, None, AGAIN]),
        ([(1, A), (1, B), (1, C)], [None, None, None]),
        ([(1, A), (1, A), (1, B), (1, C)], [None, None, AGAIN, None]),  # the answer to the second request came third
        ([(1, A), (1, A), (1, A)], [None, None, None]),  # a server whose id is constant
        ([(1, A), (2, A), (1, B), (1, B)], [None, None, None, None]),  # ids are not unique
        ([(1, SHORT), (2, "cmpl-18"), (1, SHORT)], [None, None, None]),
        ([(1, ""), (2, B), (1, "")], [None, None, None]),
    ],
    ids=["again", "again on one connection", "other ids", "again at first", "constant", "shared", "short", "no id"],
)
def test_an_answer_that_came_before_is_refused(
    answers: list[tuple[int, str]], expected: list[Status | None], stream: bool
) -> None:
    assert statuses(answers, stream=stream) == expected


def test_a_refused_answer_ends_its_connection() -> None:
    learner = TemplateLearner(Completions())
    parser = ResponseParser(Completions(), learner)
    for identity in (B, A, A):
        parser.begin()
        parser.feed(answer(identity, stream=True))
    assert not parser.response.keep_alive
    assert "the answer to the request before again" in parser.response.error


def test_only_ids_as_long_as_unique_ones_count() -> None:
    assert find_answer_id(f'{{"id": "{A}"}}'.encode()) == A.encode()
    assert find_answer_id(b"{}") == b""
    parser = ResponseParser(Completions(), TemplateLearner(Completions()))
    for identity in ("cmpl-1", "cmpl-2", "cmpl-2"):
        parser.begin()
        parser.feed(answer(identity, stream=True))
        assert parser.response.status is None
    assert not AnswerIds().is_repeated(b"", A.encode())
