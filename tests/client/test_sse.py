"""Events cut out of a stream, however it was split."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra.client.sse import EventSplitter, ServerEvent, is_event

STREAM = (
    "event: message\ndata: one\n\n: a comment\n\ndata: two\r\ndata: three\r\n\r\nid: 7\nretry: 5\ndata:four\r\r"
    "event: unused\n\ndata: é\n\n"
).encode()
EVENTS = [
    ServerEvent(b"one", b"message"),
    ServerEvent(b"two\nthree", b""),
    ServerEvent(b"four", b""),
    ServerEvent("é".encode(), b""),
]


@given(st.sets(st.integers(1, len(STREAM) - 1), max_size=20))
def test_any_split_gives_the_same_events(cuts: set[int]) -> None:
    splitter, borders = EventSplitter(), [0, *sorted(cuts), len(STREAM)]
    parts = [STREAM[a:b] for a, b in itertools.pairwise(borders)]
    assert [event for part in parts for event in splitter.split(part)] == EVENTS
    assert splitter.between and not splitter.junk


@pytest.mark.parametrize("part", [b"da", b"data: x\n", b"event: x\n", b"data: x\r"])
def test_between_events_is_after_an_empty_line(part: bytes) -> None:
    splitter = EventSplitter()
    between = [splitter.between]
    splitter.split(part)
    between.append(splitter.between)
    splitter.begin()
    between.append(splitter.between)
    assert between == [True, False, True]
    assert splitter.split(b"data: y\n\n") == [ServerEvent(b"y", b"")]


def test_a_last_event_without_its_empty_line_is_no_event() -> None:
    splitter = EventSplitter()
    assert splitter.split(b"data: [DONE]") == []
    assert splitter.finish() == b" [DONE]"
    splitter.begin()
    assert splitter.split(b"data: [DONE]\n") == []
    assert splitter.finish() == b"[DONE]"


def test_text_outside_of_events_is_kept_for_error_messages() -> None:
    splitter = EventSplitter()
    splitter.split(b'{"hello": 1}\n<html>')
    assert splitter.junk == b'{"hello": 1}'
    splitter.begin()
    splitter.split(b"<html>")
    splitter.finish()
    assert splitter.junk == b"<html>"


def test_a_line_that_is_too_long_is_dropped() -> None:
    splitter = EventSplitter()
    splitter.split(b"data: " + b"x" * 100)
    splitter.drop_line()
    assert splitter.between and splitter.line == b""


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (b"data: x\n\n", True),
        (b"data: x\n", False),
        (b"data: x\n\ndata: y\n\n", False),
        (b"data: x\r\n\r\n", False),
        (b": x\n\n", False),
    ],
)
def test_a_whole_event_of_one_line(body: bytes, whole: bool) -> None:
    assert is_event(body) is whole
