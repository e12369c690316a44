"""The text of an answer as the client keeps it, in its parts: reasoning, answer, tool calls.

The client joins what it receives in order. A character that no model writes ends the reasoning, and another one stands
before each piece of JSON of a tool call (as in JSON text sequences, RFC 7464).
"""

from __future__ import annotations

from typing import NamedTuple

REASONING_END = "\x1d"
TOOL_CALL = "\x1e"


class AnswerText(NamedTuple):
    """The parts of an answer. calls: JSON of tool calls; of a stream, of each of its pieces."""

    reasoning: str
    answer: str
    calls: tuple[str, ...]


def split_answer(text: str) -> AnswerText:
    """Return the parts of a text that the client kept."""
    reasoning, _, rest = text.rpartition(REASONING_END)
    answer, *calls = rest.split(TOOL_CALL)
    return AnswerText(reasoning, answer, tuple(calls))
