"""The template of a stream's content events: the bytes around the text, learnt from the first event of the stream.

A content event that matches the template is counted without parsing its JSON, which makes most packets cheap: the work
per token is a few calls of functions implemented in C.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import NamedTuple

from benchhydra.client.answer_ids import ID_VALUE
from benchhydra.client.apis import Api, Usage, is_blank
from benchhydra.client.lenient_json import BROKEN_JSON
from benchhydra.client.lenient_json import decode_strictly as decode
from benchhydra.client.sse import FIELD, is_event
from benchhydra.client.usage_template import UsageTemplate

_QUOTE = 34
_MAX_TAILS = 16
_MAX_REMEMBERED = 65536
_MAX_EVENT_BYTES = 65536  # of an event that a template is learnt from
#: Packets are split at the last bytes of a chunk, this many: with more or fewer, bytes.split() takes longer.
_SEPARATOR_BYTES = 10
#: Token texts that were checked to be valid JSON strings: the vocabulary, or its most frequent part.
_valid_texts: set[bytes] = set()
_blank_texts: set[bytes] = set()  # those of them that are only white space
_MAX_TEXTS = 16384
#: Servers whose events with usage differ in more than id, time and counts are not learnt from for ever.
_USAGE_TRIES = 8
_MAX_TEXT_BYTES = 64  # shorter than the bytes around a text
#: Size lines of HTTP chunks by chunk length, and tails by the end of the event; shared by all streams.
_size_lines: dict[int, bytes] = {}
_tails: dict[bytes, _Tail] = {}


class _Tail:
    """The bytes after the text: in the event (``event``), in its HTTP chunk (``chunk``), and up to the ``separator``
    (``rest``).

    ``ends``: valid texts, each followed by ``rest``; ``chunk_ends``: valid texts, each followed by ``chunk``.
    """

    __slots__ = ("chunk", "chunk_ends", "ends", "event", "rest", "separator")

    def __init__(self, event: bytes) -> None:
        self.event = event
        self.chunk = event + b"\r\n"
        self.separator = self.chunk[-_SEPARATOR_BYTES:]
        self.rest = self.chunk[:-_SEPARATOR_BYTES]
        self.ends: set[bytes] = set()
        self.chunk_ends: set[bytes] = set()

    @classmethod
    def of(cls, event: bytes) -> _Tail:
        """Return the tail that is shared by all streams whose events end with these bytes."""
        tail = _tails.get(event)
        if tail is None:
            tail = cls(event)
            if len(_tails) < _MAX_TAILS:
                _tails[event] = tail
        return tail


class _Heads(dict[int, bytes]):
    """The bytes before the text in an HTTP chunk, by the chunk's length up to the separator."""

    def __init__(self, prefix: bytes, separator_bytes: int) -> None:
        self._prefix = prefix
        self._separator_bytes = separator_bytes

    def __missing__(self, part_bytes: int) -> bytes:
        chunk_bytes = part_bytes + self._separator_bytes
        head = self[part_bytes] = (_size_lines.get(chunk_bytes) or _size_line(chunk_bytes)) + self._prefix
        return head


class ChunkTemplate:
    """``prefix``: the start of a body, up to the opening quote of its text; ``tail``: the bytes after the text."""

    __slots__ = ("_heads", "_skip", "_tail", "prefix")

    def __init__(self, prefix: bytes, tail: _Tail) -> None:
        self.prefix = prefix
        self._skip = len(prefix)
        self._tail = tail
        self._heads = _Heads(prefix, len(tail.separator))

    def is_chunk(self, data: bytes) -> bool:
        """Return whether ``data`` is one complete HTTP chunk that matches the template."""
        head = (_size_lines.get(len(data)) or _size_line(len(data))) + self.prefix
        return self._continues(data, head, self._tail.chunk, self._tail.chunk_ends)

    def _continues(self, data: bytes, head: bytes, tail: bytes, ends: set[bytes]) -> bool:
        """Return whether ``data`` is head, valid text, tail. ``ends``: texts seen before, each with the tail."""
        end = data.removeprefix(head)
        if end is data:  # it starts differently
            return False
        if end in ends:
            return True
        text = end[: len(end) - len(tail)]
        if text + tail != end or not (text in _valid_texts or _is_text(text)):
            return False
        if text in _valid_texts and len(ends) < _MAX_TEXTS:
            ends.add(end)
        return True

    def leading_chunks(self, data: bytes) -> tuple[int, int]:
        """Return the number of matching chunks at the start of ``data``, and their total length in bytes."""
        parts = data.split(self._tail.separator)
        incomplete = parts.pop()
        count = self._count_seen(parts)
        while count < len(parts) and self._is_part(parts[count]):
            count += 1
            count += self._count_seen(parts[count:])
        others = parts[count:]
        return count, len(data) - len(incomplete) - sum(map(len, others)) - len(others) * len(self._tail.separator)

    def _count_seen(self, parts: list[bytes]) -> int:
        """Return how many of the first chunks, each up to the separator, match with a text that was seen before.

        (A part without a head would also count, but without a size line it would not be valid HTTP.)
        """
        ends = map(bytes.removeprefix, parts, map(self._heads.__getitem__, map(len, parts)))
        return len(list(takewhile(self._tail.ends.__contains__, ends)))

    def _is_part(self, part: bytes) -> bool:
        """Return whether a chunk, up to the separator, matches the template."""
        return self._continues(part, self._heads[len(part)], self._tail.rest, self._tail.ends)

    def is_body(self, body: bytes) -> bool:
        """Return whether a body that starts with the prefix continues with a valid text and the tail."""
        tail = self._tail.event
        text = body[self._skip : -len(tail)]
        return body.endswith(tail) and (text in _valid_texts or _is_text(text))

    def is_like(self, body: bytes) -> bool:
        """Return whether a body that starts with the prefix is exactly one event with a non-empty text.

        The bytes after the start of the text are not checked, except that a brace and two line feeds end the event.
        """
        return body.endswith(b"}\n\n") and body[self._skip] != _QUOTE and is_event(body)  # it is longer than the prefix


class RecalledEvent(NamedTuple):
    """The answer's id in a stream's first content event, and the stream's template."""

    answer_id: bytes
    template: ChunkTemplate


class _FirstEvent:
    """The first event of an earlier stream: those of other streams often differ from it only in id and text."""

    def __init__(self, data: bytes, text: tuple[int, int]) -> None:
        identity = ID_VALUE.search(data, 0, text[0])
        begin, end = identity.span(1) if identity else (0, 0)
        self._begin, self._middle, self._end = data[:begin], data[end : text[0]], data[text[1] :]
        self._tail = _Tail.of(self._end + b"\n\n")

    def recall(self, data: bytes) -> RecalledEvent | None:
        """Return the id and template of an event that differs only in id and text; None for any other."""
        begin = len(self._begin)
        end = data.find(b'"', begin)
        text = end + len(self._middle)
        if not (
            begin < end
            and data.startswith(self._begin)
            and data[begin:end].replace(b"-", b"").isalnum()
            and data[end:text] == self._middle
            and data.endswith(self._end)
            and (value := data[text : len(data) - len(self._end)]) in _valid_texts
            and value not in _blank_texts
        ):
            return None
        return RecalledEvent(data[begin:end], ChunkTemplate(FIELD + data[:text], self._tail))


class TemplateLearner:
    """Finds the templates of one API's streams. All connections share one learner, because their streams are alike."""

    def __init__(self, api: Api) -> None:
        keys = b"|".join(re.escape(key.encode()) for key in api.text_keys)
        self._api = api
        self._text_value = re.compile(rb'"(?:%b)"\s*:\s*"((?:[^"\\]|\\.)*)"' % keys) if keys else None
        self._first_event: _FirstEvent | None = None
        self.starts_with_reasoning = False  # of the first event
        self._usage: UsageTemplate | None = None
        self._usage_tries = _USAGE_TRIES

    def recall(self, data: bytes) -> RecalledEvent | None:
        """Return what a content event that is like an earlier stream's has, without parsing JSON; or None."""
        return None if self._first_event is None else self._first_event.recall(data)

    def recall_usage(self, data: bytes) -> Usage | None:
        """Return the usage in an event that is like an earlier stream's and has nothing else, or None."""
        return None if self._usage is None else self._usage.read(data)

    def learn_usage(self, data: bytes) -> None:
        """Learn how later events report usage from one whose JSON was read."""
        if self._usage_tries:
            self._usage_tries -= 1
            self._usage = UsageTemplate.learn(data, self._api)

    def learn(self, data: bytes) -> ChunkTemplate | None:
        """Return the template of a content event (its JSON), or None.

        To verify it, a mark is inserted into the text: the API must then return a text that starts with the mark.
        """
        if self._text_value is None or len(data) > _MAX_EVENT_BYTES or b"\n" in data:
            return None
        text = self._text_value.search(data)
        if text is None:
            return None
        head = data[: text.start(1)]
        try:
            marked = self._api.read(decode(head + b"\\u0001" + data[text.start(1) :]))
        except BROKEN_JSON:  # it was read leniently
            return None
        if not any(generated.startswith("\x01") for generated in marked.texts):
            return None
        _is_text(text[1])  # stores the text as valid, which _FirstEvent and _Tail.ends require
        plain = marked.usage is None and not (marked.finish or marked.anomalies or marked.whole)
        self._first_event = _FirstEvent(data, text.span(1)) if plain else None
        self.starts_with_reasoning = marked.reasoning
        return ChunkTemplate(FIELD + head, _Tail.of(data[text.end(1) :] + b"\n\n"))


def _is_text(text: bytes) -> bool:
    """Return whether the bytes are the inside of a non-empty JSON string; store them as valid."""
    try:
        decoded = decode(b'"%b"' % text)
    except BROKEN_JSON:
        return False
    if 0 < len(text) <= _MAX_TEXT_BYTES and len(_valid_texts) < _MAX_TEXTS:
        if is_blank(decoded):
            _blank_texts.add(text)
        _valid_texts.add(text)
    return bool(text)


def _size_line(chunk_bytes: int) -> bytes:
    """Return the size line of an HTTP chunk whose total length (size line, body, line end) is ``chunk_bytes``."""
    for digits in range(1, 8):
        body_bytes = chunk_bytes - digits - 4
        if body_bytes > 0 and len(f"{body_bytes:x}") == digits:
            line = b"%x\r\n" % body_bytes
            break
    else:
        line = b"\0" * chunk_bytes  # no chunk has this length, so return a prefix that never matches
    if chunk_bytes <= _MAX_REMEMBERED:
        _size_lines[chunk_bytes] = line
    return line
