"""The shape of a stream's content events: the bytes around the text, learnt from the first one, known again in others.

This is what makes most packets cheap: a content event that is known by its shape is counted without being parsed.
"""

from __future__ import annotations

import re

from benchhydra.client.events import BROKEN_JSON, decode, text_of

FIELD = b"data: "
_QUOTE = 34
_MAX_TAILS = 64
_MAX_REMEMBERED = 65536
_TEXT_VALUE = re.compile(rb'"(?:text|content|reasoning_content|reasoning)"\s*:\s*"((?:[^"\\]|\\.)*)"')
#: Texts of tokens that were found to be JSON strings: the vocabulary, or its most frequent part.
_known_texts: set[bytes] = set()
_MAX_KNOWN = 16384
#: What HTTP chunks begin with, by their length; and what events end with: one of each, for all streams.
_size_lines: dict[int, bytes] = {}
_tails: dict[bytes, bytes] = {}


class Shape:
    """``prefix`` is what a body begins with, up to the opening quote of its text; ``tail`` what follows the text."""

    __slots__ = ("_chunk_end", "_chunk_tail", "_skip", "_tail", "prefix")

    def __init__(self, prefix: bytes, tail: bytes) -> None:
        self.prefix = prefix
        self._skip = len(prefix)
        self._tail = tail
        if len(_tails) < _MAX_TAILS:
            _tails.setdefault(tail, tail + b"\r\n")
        self._chunk_tail = _tails.get(tail) or tail + b"\r\n"
        self._chunk_end = -len(self._chunk_tail)

    def is_chunk(self, data: bytes) -> bool:
        """Whether it is one whole HTTP chunk of the right size, that differs in its text alone."""
        line = _size_lines.get(len(data)) or _size_line(len(data))
        text = data[len(line) + self._skip : self._chunk_end]
        return b"".join((line, self.prefix, text, self._chunk_tail)) == data and (
            text in _known_texts or _is_text(text)
        )

    def is_body(self, body: bytes) -> bool:
        """Whether a body that begins with the prefix is the same event with another text, that is a JSON string."""
        text = body[self._skip : -len(self._tail)]
        return body.endswith(self._tail) and (text in _known_texts or _is_text(text))

    def is_like(self, body: bytes) -> bool:
        """Whether a body that begins with the prefix is exactly one event, with a text. The rest is not looked at.

        Its only line feeds are the two that end it, right after a brace.
        """
        return body.endswith(b"}\n\n") and body[self._skip] != _QUOTE and is_event(body)  # it is longer than the prefix


def is_event(body: bytes) -> bool:
    """Whether a body is one whole event of one line of data: most are."""
    return body.startswith(FIELD) and body.endswith(b"\n\n") and body.find(b"\n") == len(body) - 2 and b"\r" not in body


def shape_of(data: bytes) -> Shape | None:
    """The shape of a content event (its JSON): proven by putting a mark into the text, and finding it there."""
    found = _TEXT_VALUE.search(data)
    if found is None or b"\n" in data:
        return None
    head = data[: found.start(1)]
    marked = decode(head + b"\\u0001" + data[found.start(1) :])
    if not any(text_of(choice).startswith("\x01") for choice in marked["choices"]):
        return None
    return Shape(FIELD + head, data[found.end(1) :] + b"\n\n")


def _is_text(text: bytes) -> bool:
    """Whether the bytes between two quotes are the inside of a JSON string, and not empty."""
    try:
        decode(b'"%b"' % text)
    except BROKEN_JSON:
        return False
    if text and len(_known_texts) < _MAX_KNOWN:
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
