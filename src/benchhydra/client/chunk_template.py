"""The template of a stream's content events: the bytes around the text, learnt from the first event of the stream.

This is what makes most packets cheap: a content event that matches the template is counted without being parsed. What
is done for every token happens in few calls, and inside C.
"""

from __future__ import annotations

import re
from itertools import takewhile

from benchhydra.client.apis import Api
from benchhydra.client.response import BROKEN_JSON, decode
from benchhydra.client.sse import FIELD, is_event

_QUOTE = 34
_MAX_TAILS = 16
_MAX_REMEMBERED = 65536
#: How much of a chunk's end a packet is split at: bytes.split() is twice as quick as for all of it.
_SEPARATOR_BYTES = 16
_ID_VALUE = re.compile(rb'"id"\s*:\s*"([\w-]+)"')
#: Texts of tokens that were found to be JSON strings: the vocabulary, or its most frequent part.
_valid_texts: set[bytes] = set()
_MAX_TEXTS = 16384
_MAX_TEXT_BYTES = 64  # shorter than what is around a text
#: What HTTP chunks begin with, by their length; and what events end with: one of each, for all streams.
_size_lines: dict[int, bytes] = {}
_tails: dict[bytes, _Tail] = {}


class _Tail:
    """What follows the text: in the event (``event``), in its HTTP chunk, and in that up to the ``separator``.

    ``ends``: texts that were found to be JSON strings, each followed by ``rest``; ``chunk_ends``: by ``chunk``.
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
        """The one for all streams whose events end with these bytes."""
        tail = _tails.get(event)
        if tail is None:
            tail = cls(event)
            if len(_tails) < _MAX_TAILS:
                _tails[event] = tail
        return tail


class _Heads(dict[int, bytes]):
    """What precedes the text in an HTTP chunk, by the chunk's length up to the separator."""

    def __init__(self, prefix: bytes, separator: bytes) -> None:
        super().__init__()
        self._prefix = prefix
        self._separator_bytes = len(separator)

    def __missing__(self, part_bytes: int) -> bytes:
        chunk_bytes = part_bytes + self._separator_bytes
        head = self[part_bytes] = (_size_lines.get(chunk_bytes) or _size_line(chunk_bytes)) + self._prefix
        return head


class ChunkTemplate:
    """``prefix`` is what a body begins with, up to the opening quote of its text; ``tail`` what follows the text."""

    __slots__ = ("_heads", "_skip", "_tail", "prefix")

    def __init__(self, prefix: bytes, tail: bytes) -> None:
        self.prefix = prefix
        self._skip = len(prefix)
        self._tail = _Tail.of(tail)
        self._heads = _Heads(prefix, self._tail.separator)

    def is_chunk(self, data: bytes) -> bool:
        """Whether it is one whole HTTP chunk of the right size that differs only in its text."""
        head = (_size_lines.get(len(data)) or _size_line(len(data))) + self.prefix
        return self._continues(data, head, self._tail.chunk, self._tail.chunk_ends)

    def _continues(self, data: bytes, head: bytes, tail: bytes, ends: set[bytes]) -> bool:
        """Whether it is a head, a text and a tail. ``ends``: texts seen before, each followed by the tail."""
        end = data.removeprefix(head)
        if end is data:  # another head
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
        """How many such chunks the bytes begin with, and how long those are."""
        parts = data.split(self._tail.separator)
        incomplete = parts.pop()
        count = self._count_seen(parts)
        while count < len(parts) and self._is_part(parts[count]):
            count += 1
            count += self._count_seen(parts[count:])
        others = parts[count:]
        return count, len(data) - len(incomplete) - sum(map(len, others)) - len(others) * len(self._tail.separator)

    def _count_seen(self, parts: list[bytes]) -> int:
        """How many of the first chunks, up to the separator, differ only in texts that were seen before.

        (A part without any head would count too; but it would have no size line, and so it would not be HTTP.)
        """
        ends = map(bytes.removeprefix, parts, map(self._heads.__getitem__, map(len, parts)))
        return len(list(takewhile(self._tail.ends.__contains__, ends)))

    def _is_part(self, part: bytes) -> bool:
        """Whether a chunk, up to the separator, differs only in its text."""
        return self._continues(part, self._heads[len(part)], self._tail.rest, self._tail.ends)

    def is_body(self, body: bytes) -> bool:
        """Whether a body that begins with the prefix is the same event with another text that is a JSON string."""
        tail = self._tail.event
        text = body[self._skip : -len(tail)]
        return body.endswith(tail) and (text in _valid_texts or _is_text(text))

    def is_like(self, body: bytes) -> bool:
        """Whether a body that begins with the prefix is exactly one event with a text. The rest is not looked at.

        Its only line feeds are the two that end it, right after a brace.
        """
        return body.endswith(b"}\n\n") and body[self._skip] != _QUOTE and is_event(body)  # it is longer than the prefix


class _FirstEvent:
    """The last first event of a stream: those of other streams are often the same but for their ids and texts."""

    def __init__(self, data: bytes, text: tuple[int, int]) -> None:
        identity = _ID_VALUE.search(data, 0, text[0])
        begin, end = identity.span(1) if identity else (0, 0)
        self._begin, self._middle, self._end = data[:begin], data[end : text[0]], data[text[1] :]

    def template_for(self, data: bytes) -> ChunkTemplate | None:
        """The template of an event that is the same but for its id and its text; None for any other."""
        begin = len(self._begin)
        end = data.find(b'"', begin)
        text = end + len(self._middle)
        if not (
            begin < end
            and data.startswith(self._begin)
            and data[begin:end].replace(b"-", b"").isalnum()
            and data[end:text] == self._middle
            and data.endswith(self._end)
            and data[text : len(data) - len(self._end)] in _valid_texts
        ):
            return None
        return ChunkTemplate(FIELD + data[:text], self._end + b"\n\n")


class TemplateLearner:
    """Finds the templates of one API's streams: one learner serves all connections, whose streams are alike."""

    def __init__(self, api: Api) -> None:
        keys = b"|".join(re.escape(key.encode()) for key in api.text_keys)
        self._api = api
        self._text_value = re.compile(rb'"(?:%b)"\s*:\s*"((?:[^"\\]|\\.)*)"' % keys) if keys else None
        self._first_event: _FirstEvent | None = None

    def recall(self, data: bytes) -> ChunkTemplate | None:
        """The template of a content event without usage that is like another stream's, without a look into its JSON."""
        return None if self._first_event is None else self._first_event.template_for(data)

    def learn(self, data: bytes) -> ChunkTemplate | None:
        """The template of a content event (its JSON), proven by putting a mark into the text and finding it there."""
        text = None if self._text_value is None else self._text_value.search(data)
        if text is None or b"\n" in data:
            return None
        head = data[: text.start(1)]
        marked = self._api.read(decode(head + b"\\u0001" + data[text.start(1) :]))
        if not any(generated.startswith("\x01") for generated in marked.texts):
            return None
        _is_text(text[1])  # remembers it: first events and ends are made of texts that were seen before
        self._first_event = _FirstEvent(data, text.span(1)) if marked.usage is None else None
        return ChunkTemplate(FIELD + head, data[text.end(1) :] + b"\n\n")


def _is_text(text: bytes) -> bool:
    """Whether the bytes between two quotes are the inside of a JSON string, and not empty."""
    try:
        decode(b'"%b"' % text)
    except BROKEN_JSON:
        return False
    if 0 < len(text) <= _MAX_TEXT_BYTES and len(_valid_texts) < _MAX_TEXTS:
        _valid_texts.add(text)
    return bool(text)


def _size_line(chunk_bytes: int) -> bytes:
    """The size line of an HTTP chunk of a length that includes the size line and the line end after the body."""
    for digits in range(1, 8):
        body_bytes = chunk_bytes - digits - 4
        if body_bytes > 0 and len(f"{body_bytes:x}") == digits:
            line = b"%x\r\n" % body_bytes
            break
    else:
        line = b"\0" * chunk_bytes  # no chunk has this length: a prefix that no data of this length can have
    if chunk_bytes <= _MAX_REMEMBERED:
        _size_lines[chunk_bytes] = line
    return line
