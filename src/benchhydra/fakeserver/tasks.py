"""The tasks that the fake engine solves: sums (``dataset=arithmetic``) and texts to copy (``dataset=copying``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: The word before a text to copy -> the word after it; "": the text goes on to the end of the prompt.
COPYING = {"Input:": "Output:", "Repeat:": ""}


def solve(words: Sequence[Any]) -> list[str]:
    """Return the words of the answer to a prompt that ends with a task; [] for any other prompt."""
    match words[-4:]:
        case [str() as left, "+", str() as right, "="] if left.isdecimal() and right.isdecimal():
            return [str(int(left) + int(right))]
    for begin, end in COPYING.items():
        if begin in words and (not end or words[-1] == end):
            after = len(words) - list(reversed(words)).index(begin)
            return list(map(str, words[after : len(words) - bool(end)]))
    return []
