"""A compact store of encoded requests: up to millions are prepared before the window and wait in memory."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

_NO_LABEL = -1
_LENGTH = b"\r\nContent-Length: "
#: With more distinct beginnings, sharing them saves nothing: further requests are stored whole.
_MAX_BEGINNINGS = 4096
#: Requests per block: large enough that its memory is returned to the system when the block is released.
BLOCK_ROWS = 256
#: Requests that are longer are not stored in blocks.
LONG_BYTES = 16 << 10


class RequestStore(Protocol):
    """The requests of a load, as the load generator uses them; columns are by request.

    A store with ``needs_texts`` is told the text of each answer, and may encode later requests with it.
    """

    @property
    def needs_texts(self) -> bool: ...
    @property
    def slow_to_take(self) -> bool:
        """Whether ``take`` lasts so long that it is better called before the time of sending."""

    @property
    def prompt_tokens(self) -> array[int]: ...
    @property
    def output_tokens(self) -> array[int]: ...
    @property
    def labels(self) -> Mapping[str, array[int]]: ...
    @property
    def expected(self) -> Sequence[str]: ...
    def __len__(self) -> int: ...
    def take(self, i: int) -> bytes:
        """Return the bytes of request i, which is about to be sent: its pacing has planned it. Call it once."""

    def answered(self, i: int, text: str) -> None:
        """Receive the text of a completed answer, before the pacing learns that the request has ended."""

    def failed(self, i: int) -> None:
        """Learn that request i has ended without a complete answer."""

    def every_nth(self, first: int, step: int) -> RequestStore:
        """Return a store of the requests first, first + step, first + 2 * step, ..."""


@dataclass(kw_only=True)
class Requests:
    """Encoded requests. ``take(i)`` returns the bytes of request i, once.

    The common beginning of requests (everything before the JSON key ``prompt_key``) is stored once:
    ``beginnings[beginning[i]]`` are the bytes before and after the value of Content-Length; -1: request i is stored
    whole. The remaining bytes are concatenated in blocks of ``BLOCK_ROWS`` requests, each starting at ``starts[i]`` in
    its block. A block's memory is released when all its requests are taken. Longer ones than ``LONG_BYTES`` are stored
    one by one, by row, because to release a block of them takes milliseconds. ``labels``: whole numbers by name, one
    for each request, which its row gets too (``Records.labels``; -1: none). ``expected``: what each answer must
    contain, for the output check after the load; empty without one. ``every_nth`` leaves it out.
    """

    needs_texts: ClassVar[bool] = False

    prompt_key: str = "prompt"
    blocks: list[bytearray] = field(default_factory=list, repr=False)
    long: dict[int, bytes] = field(default_factory=dict, repr=False)
    starts: array[int] = field(default_factory=lambda: array("q"), repr=False)
    beginning: array[int] = field(default_factory=lambda: array("i"), repr=False)
    beginnings: list[tuple[bytes, bytes]] = field(default_factory=list, repr=False)
    prompt_tokens: array[int] = field(default_factory=lambda: array("i"), repr=False)
    output_tokens: array[int] = field(default_factory=lambda: array("i"), repr=False)
    labels: dict[str, array[int]] = field(default_factory=dict, repr=False)
    expected: list[str] = field(default_factory=list, repr=False)
    _index: dict[tuple[bytes, bytes], int] = field(default_factory=dict, repr=False)
    _taken: dict[int, int] = field(default_factory=dict, repr=False)  # by block

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def slow_to_take(self) -> bool:
        """Whether there are long requests, whose bytes take tens of microseconds to copy."""
        return bool(self.long)

    def add(
        self,
        request: bytes,
        prompt_tokens: int,
        output_tokens: int,
        labels: Mapping[str, int] | None = None,
        expected: str = "",
    ) -> None:
        """Append one complete request (head and body)."""
        if labels or self.labels:
            self._add_labels(labels or {})
        if expected or self.expected:
            self.expected += [""] * (len(self) - len(self.expected)) + [expected]
        before, after, rest = _split(request, b'"%b":' % self.prompt_key.encode())
        index = self._index.get((before, after), -1)
        if index < 0 and before and len(self.beginnings) < _MAX_BEGINNINGS:
            index = self._index[before, after] = len(self.beginnings)
            self.beginnings.append((before, after))
        self._append(index, rest if index >= 0 else request, prompt_tokens, output_tokens)

    def _add_labels(self, labels: Mapping[str, int]) -> None:
        for name in labels.keys() - self.labels.keys():
            self.labels[name] = array("i", [_NO_LABEL]) * len(self)
        for name, values in self.labels.items():
            values.append(labels.get(name, _NO_LABEL))

    def _append(self, index: int, rest: bytes | memoryview, prompt_tokens: int, output_tokens: int) -> None:
        if len(self) % BLOCK_ROWS == 0:
            self.blocks.append(bytearray())
        self.beginning.append(index)
        self.starts.append(len(self.blocks[-1]))
        if len(rest) > LONG_BYTES:
            self.long[len(self) - 1] = bytes(rest)
        else:
            self.blocks[-1] += rest
        self.prompt_tokens.append(prompt_tokens)
        self.output_tokens.append(output_tokens)

    def _rest(self, i: int) -> memoryview:
        """Return the part of a block that belongs to request i; empty for a long one."""
        end = self.starts[i + 1] if (i + 1) % BLOCK_ROWS and i + 1 < len(self.starts) else None
        return memoryview(self.blocks[i // BLOCK_ROWS])[self.starts[i] : end]

    def take(self, i: int) -> bytes:
        """Return the bytes of request i. Call it once per request."""
        block = i // BLOCK_ROWS
        rest: bytes | memoryview = self._rest(i) or self.long.pop(i, b"")
        index = self.beginning[i]
        taken = self._taken[block] = self._taken.get(block, 0) + 1
        if taken == min(BLOCK_ROWS, len(self) - block * BLOCK_ROWS):
            self.blocks[block] = bytearray()
        if index < 0:
            return bytes(rest)
        before, after = self.beginnings[index]
        # the head ends with an empty line: 4 bytes of ``after`` do not belong to the body
        return b"".join((before, b"%d" % (len(after) - 4 + len(rest)), after, rest))  # copies a long rest only once

    def answered(self, i: int, text: str) -> None:
        """Do nothing: these requests are encoded already."""

    def failed(self, i: int) -> None:
        """Do nothing: no other request needs the answer."""

    def every_nth(self, first: int, step: int) -> Requests:
        """Return a store of the requests first, first + step, first + 2 * step, ..."""
        part = Requests(prompt_key=self.prompt_key, beginnings=self.beginnings, _index=self._index)
        for i in range(first, len(self), step):
            rest = self._rest(i) or self.long.get(i, b"")
            part._append(self.beginning[i], rest, self.prompt_tokens[i], self.output_tokens[i])
        part.labels = {name: values[first::step] for name, values in self.labels.items()}
        return part


def _split(request: bytes, prompt_key: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a request before and after the value of Content-Length and before the prompt.

    Returns (bytes before the value, bytes from it to the prompt, prompt and rest), or (b"", b"", request) if the
    request has another form. A quoted key cannot occur inside a JSON string, because its quotes would be escaped.
    """
    body = request.find(b"\r\n\r\n")
    length = request.rfind(_LENGTH, 0, body)
    if body < 0 or length < 0 or request[length + len(_LENGTH) : body] != b"%d" % (len(request) - body - 4):
        return b"", b"", request
    cut = request.find(prompt_key, body)
    if cut < 0:
        return b"", b"", request
    return request[: length + len(_LENGTH)], request[body:cut], request[cut:]
