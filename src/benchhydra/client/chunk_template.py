"""The shape of a stream's content events: the bytes around the text, learnt from the first one, known again in others.

This is what makes most packets cheap: a content event that is known by its shape is counted without being parsed. All
that is done for every token happens in few calls, and inside C.
"""

from __future__ import annotations

import re
from itertools import takewhile

from benchhydra.client.events import BROKEN_JSON, decode, text_of, usage_of

FIELD = b"data: "
_QUOTE = 34
_MAX_TAILS = 16
_MAX_REMEMBERED = 65536
#: How much of a chunk's end a packet is split at: bytes.split() is twice as quick as for all of it.
_SEPARATOR_BYTES = 16
_TEXT_VALUE = re.compile(rb'"(?:text|content|reasoning_content|reasoning)"\s*:\s*"((?:[^"\\]|\\.)*)"')
_ID_VALUE = re.compile(rb'"id"\s*:\s*"([\w-]+)"')
#: Texts of tokens that were found to be JSON strings: the vocabulary, or its most frequent part.
_known_texts: set[bytes] = set()
_MAX_KNOWN = 16384
_MAX_KNOWN_BYTES = 64  # shorter than what is around a text
#: What HTTP chunks begin with, by their length; and what events end with: one of each, for all streams.
_size_lines: dict[int, bytes] = {}
_tails: dict[bytes, _Tail] = {}


class _Tail:
    """What follows the text: in the event (``event``), in its HTTP chunk, and in that up to the ``separator``.

    ``ends``: texts that were found to be JSON strings, each with ``rest`` behind it; ``chunk_ends`` with ``chunk``.
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
        """The one for all streams whose events end so."""
        known = _tails.get(event)
        if known is None:
            known = cls(event)
            if len(_tails) < _MAX_TAILS:
                _tails[event] = known
        return known


class _Heads(dict[int, bytes]):
    """What stands before the text in an HTTP chunk, by how long it is with all up to the separator."""

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
        """Whether it is one whole HTTP chunk of the right size, that differs in its text alone."""
        head = (_size_lines.get(len(data)) or _size_line(len(data))) + self.prefix
        return self._continues(data, head, self._tail.chunk, self._tail.chunk_ends)

    def _continues(self, data: bytes, head: bytes, tail: bytes, ends: set[bytes]) -> bool:
        """Whether it is a head, a text and a tail. ``ends``: texts seen before, each with the tail behind it."""
        end = data.removeprefix(head)
        if end is data:  # it does not begin so
            return False
        if end in ends:
            return True
        text = end[: len(end) - len(tail)]
        if text + tail != end or not (text in _known_texts or _is_text(text)):
            return False
        if text in _known_texts and len(ends) < _MAX_KNOWN:
            ends.add(end)
        return True

    def leading_chunks(self, data: bytes) -> tuple[int, int]:
        """How many such chunks the bytes begin with, and how long those are."""
        parts = data.split(self._tail.separator)
        behind = parts.pop()
        count = self._known(parts)
        while count < len(parts) and self._is_part(parts[count]):
            count += 1
            count += self._known(parts[count:])
        left = parts[count:]
        return count, len(data) - len(behind) - sum(map(len, left)) - len(left) * len(self._tail.separator)

    def _known(self, parts: list[bytes]) -> int:
        """How many chunks come first, up to the separator, that differ in texts alone that were seen before.

        (Without any head one would be an end too; but then it would have no size line, and nothing would be HTTP.)
        """
        ends = map(bytes.removeprefix, parts, map(self._heads.__getitem__, map(len, parts)))
        return len(list(takewhile(self._tail.ends.__contains__, ends)))

    def _is_part(self, part: bytes) -> bool:
        """Whether a chunk, up to the separator, differs in its text alone."""
        return self._continues(part, self._heads[len(part)], self._tail.rest, self._tail.ends)

    def is_body(self, body: bytes) -> bool:
        """Whether a body that begins with the prefix is the same event with another text, that is a JSON string."""
        tail = self._tail.event
        text = body[self._skip : -len(tail)]
        return body.endswith(tail) and (text in _known_texts or _is_text(text))

    def is_like(self, body: bytes) -> bool:
        """Whether a body that begins with the prefix is exactly one event, with a text. The rest is not looked at.

        Its only line feeds are the two that end it, right after a brace.
        """
        return body.endswith(b"}\n\n") and body[self._skip] != _QUOTE and is_event(body)  # it is longer than the prefix


def is_event(body: bytes) -> bool:
    """Whether a body is one whole event of one line of data: most are."""
    return body.startswith(FIELD) and body.endswith(b"\n\n") and body.find(b"\n") == len(body) - 2 and b"\r" not in body


class _Template:
    """The last first event of a stream: those of other streams are often the same but for their ids and texts."""

    def __init__(self, data: bytes, text: tuple[int, int]) -> None:
        found = _ID_VALUE.search(data, 0, text[0])
        begin, end = found.span(1) if found else (0, 0)
        self._begin, self._middle, self._end = data[:begin], data[end : text[0]], data[text[1] :]

    def shape_of(self, data: bytes) -> ChunkTemplate | None:
        """The shape of an event that is the same but for its id and its text."""
        begin = len(self._begin)
        end = data.find(b'"', begin)
        text = end + len(self._middle)
        if not (
            begin < end
            and data.startswith(self._begin)
            and data[begin:end].replace(b"-", b"").isalnum()
            and data[end:text] == self._middle
            and data.endswith(self._end)
            and data[text : len(data) - len(self._end)] in _known_texts
        ):
            return None
        return ChunkTemplate(FIELD + data[:text], self._end + b"\n\n")


_template: _Template | None = None


def known_template(data: bytes) -> ChunkTemplate | None:
    """The shape of a content event that reports no usage, where it is known without a look into its JSON."""
    return None if _template is None else _template.shape_of(data)


def template_of(data: bytes) -> ChunkTemplate | None:
    """The shape of a content event (its JSON): proven by putting a mark into the text, and finding it there."""
    global _template
    found = _TEXT_VALUE.search(data)
    if found is None or b"\n" in data:
        return None
    head = data[: found.start(1)]
    marked = decode(head + b"\\u0001" + data[found.start(1) :])
    if not any(text_of(choice).startswith("\x01") for choice in marked["choices"]):
        return None
    _is_text(found[1])  # which remembers it: templates and ends are made of texts that are known
    _template = _Template(data, found.span(1)) if usage_of(marked) is None else None
    return ChunkTemplate(FIELD + head, data[found.end(1) :] + b"\n\n")


def _is_text(text: bytes) -> bool:
    """Whether the bytes between two quotes are the inside of a JSON string, and not empty."""
    try:
        decode(b'"%b"' % text)
    except BROKEN_JSON:
        return False
    if 0 < len(text) <= _MAX_KNOWN_BYTES and len(_known_texts) < _MAX_KNOWN:
        _known_texts.add(text)
    return bool(text)


def _size_line(chunk_bytes: int) -> bytes:
    """The size line of an HTTP chunk whose bytes are counted with it and with the line end behind the body."""
    for digits in range(1, 8):
        body_bytes = chunk_bytes - digits - 4
        if body_bytes > 0 and len(f"{body_bytes:x}") == digits:
            line = b"%x\r\n" % body_bytes
            break
    else:
        line = b"\0" * chunk_bytes  # there is no chunk of so many bytes, and nothing that begins so is as short
    if chunk_bytes <= _MAX_REMEMBERED:
        _size_lines[chunk_bytes] = line
    return line
