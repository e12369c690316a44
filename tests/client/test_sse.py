"""Events cut out of a stream, however it was split."""

from __future__ import annotations

import itertools
import time

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


def test_an_incomplete_event_can_be_dropped() -> None:
    splitter = EventSplitter()
    splitter.split(b"data: " + b"x" * 100)
    states = [(splitter.between, splitter.pending_bytes >= 100)]
    splitter.drop()
    states.append((splitter.between, splitter.pending_bytes > 0))
    assert states == [(False, True), (True, False)] and splitter.line == b""


@pytest.mark.parametrize("part", [b"data: " + b"x" * 994 + b"\n", b"data: \n", b"x" * 1000, b"x"])
def test_what_waits_for_the_end_of_its_event_is_counted(part: bytes) -> None:
    """Lines without an end, and events without an end, of any length."""
    splitter = EventSplitter()
    for _ in range(1000):
        splitter.split(part)
    assert splitter.pending_bytes >= 1000 * max(40, len(part) - 7)
    splitter.split(b"\n\n\n")
    assert splitter.pending_bytes == 0 and splitter.between


def test_the_time_to_split_an_event_grows_linearly_with_its_size() -> None:
    """Joining what came so far with each part would copy 16 GB here."""
    splitter, part = EventSplitter(), b"x" * 500
    splitter.split(b"data: ")
    began_s = time.process_time()
    for _ in range(8_000):
        assert splitter.split(part) == []
    events = splitter.split(b"\n\n")
    assert len(events[0].data) == 4_000_000
    assert time.process_time() - began_s < 2


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 4])
def test_a_byte_order_mark_before_the_first_event_is_dropped(cut: int) -> None:
    splitter, data = EventSplitter(), b"\xef\xbb\xbfdata: a\n\ndata: \xef\xbb\xbfb\n\n"
    events = [*splitter.split(data[:cut]), *splitter.split(data[cut:])]
    assert events == [ServerEvent(b"a", b""), ServerEvent(b"\xef\xbb\xbfb", b"")]
    assert not splitter.junk


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
