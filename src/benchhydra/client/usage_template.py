"""The template of the event that reports usage: the bytes around its counts, learnt from one of an earlier stream.

Streams end with an event without text that holds the server's token counts. One that differs from an earlier stream's
only in id, time and counts is read with a regular expression, in a fifth of the time that its JSON takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from benchhydra.client.answer_ids import ID_VALUE
from benchhydra.client.apis import Api, ApiEvent, Usage
from benchhydra.client.lenient_json import BROKEN_JSON
from benchhydra.client.lenient_json import decode_strictly as decode

_COUNTS = tuple(
    re.compile(rb'"%b"\s*:\s*(\d+)(?=\s*[,}])' % key)
    for key in (b"prompt_tokens", b"completion_tokens", b"total_tokens")
)
_CREATED = re.compile(rb'"created"\s*:\s*(\d+)')
_MAX_EVENT_BYTES = 4096
#: Counts that the event gets to prove that they are read from there: prompt, output, total.
_MARKS = (1000003, 2000029, 3000032)


class UsageTemplate:
    """Reads the usage of events that differ only in id, time and counts from the one it was learnt from."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._match = pattern.fullmatch

    @classmethod
    def learn(cls, data: bytes, api: Api) -> UsageTemplate | None:
        """Return the template of an event (its JSON) that holds usage and nothing else, or None.

        To verify it, other counts are put into the event: the API must then return these.
        """
        spans = [match.span(1) for count in _COUNTS if (match := count.search(data))]
        if len(spans) < len(_COUNTS) or len(data) > _MAX_EVENT_BYTES:
            return None
        marked = _replaced(data, [(span, b"%d" % mark) for span, mark in zip(spans, _MARKS, strict=True)])
        try:
            event = api.read(decode(marked))
        except BROKEN_JSON:  # it was read leniently
            return None
        if event != ApiEvent(usage=Usage(*_MARKS[:2]), model=event.model):
            return None
        names = (b"prompt", b"output", b"total")
        parts = [(span, rb"(?P<%b>0|[1-9]\d{0,8})" % name) for span, name in zip(spans, names, strict=True)]
        parts += [(match.span(1), rb"[1-9]\d{0,11}") for match in (_CREATED.search(data),) if match]
        parts += [(match.span(1), rb"[\w-]+") for match in (ID_VALUE.search(data),) if match]
        return cls(re.compile(_replaced(data, parts, re.escape)))

    def read(self, data: bytes) -> Usage | None:
        """Return the usage of an event with this template; None for any other, and if its counts do not add up."""
        match = self._match(data)
        if match is None:
            return None
        prompt, output, total = map(int, match.group("prompt", "output", "total"))
        return Usage(prompt, output) if prompt + output == total else None


def _replaced(
    data: bytes, parts: Sequence[tuple[tuple[int, int], bytes]], rest: Callable[[bytes], bytes] = bytes
) -> bytes:
    """Return ``data`` with other bytes in the given spans, which do not overlap; ``rest`` is applied to the others."""
    pieces, position = [], 0
    for (begin, end), replacement in sorted(parts):
        pieces += [rest(data[position:begin]), replacement]
        position = end
    return b"".join([*pieces, rest(data[position:])])
