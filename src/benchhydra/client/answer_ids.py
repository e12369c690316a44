"""Notices an answer that a server sends a second time, by its id: it would be taken for that of the next request.

Few servers have an id for each answer, so an id counts only if it is as long as theirs (vLLM, SGLang, llama.cpp and
OpenAI have 32 random characters or more), and as long as no two connections have had the same.
"""

from __future__ import annotations

import re

#: Shorter ids may be counters, times or a few random digits, which two answers in a row may share.
LEAST_CHARACTERS = 24
ID_VALUE = re.compile(rb'"id"\s*:\s*"([\w-]+)"')
#: The id stands near the beginning of a document or event.
_SEARCHED_BYTES = 256


def find_answer_id(data: bytes) -> bytes:
    """Return the id in the JSON of an answer or of its first event; b"" without one."""
    match = ID_VALUE.search(data, 0, _SEARCHED_BYTES)
    return match[1] if match is not None else b""


class AnswerIds:
    """What is known of the ids of one server's answers; shared by all connections to it."""

    def __init__(self) -> None:
        self._last = b""
        self._vary = False
        self._unique = True
        self._doubtful = b""  # an id that came twice before any other came

    def is_repeated(self, before: bytes, now: bytes) -> bool:
        """Return whether a server repeats answers, by the ids of the last two on one connection.

        True as well for the first other id after one that came twice at the beginning: answers are then one late.
        """
        if now == before:
            self._doubtful = self._doubtful if self._vary else now
            return self._vary and self._unique
        if now == self._last:
            self._unique = False
        one_late = self._unique and before != b"" and before == self._doubtful
        self._vary = self._vary or bool(self._last)
        self._last = now
        return one_late
