"""Texts that differ only in their numbers, as one text with ranges: many points often have one cause, measured anew."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: A number that stands by itself: not a part of a name (``p99``, ``qps=8``), of an address or of a hash.
_NUMBER = r"(?<![\w.=:/+-])[+-]?\d+(?:,\d{3})*(?:\.\d+)?(?![\w:/]|[.,-]\w)"
#: A change ("from 29 to 34"), a range of an earlier merge ("29 to 34"), or a number.
NUMBER = re.compile(rf"from {_NUMBER} to {_NUMBER}|{_NUMBER}(?: to {_NUMBER})?")
#: Every number, wherever it stands.
ANY_NUMBER = re.compile(r"(\d+(?:\.\d+)?)")


def natural_order(text: str) -> list[tuple[str, float]]:
    """A sort key by which numbers in texts are in order of their size: ``qps=8`` comes before ``qps=16``."""
    parts = ANY_NUMBER.split(text)
    numbers = [*map(float, parts[1::2]), 0.0]
    return list(zip(parts[::2], numbers, strict=True))


def merge_similar(texts: Iterable[str]) -> list[str]:
    """The texts, in order of their first appearance; those that differ only in numbers are one text with ranges.

    ``["got 57 % of it", "got 72 % of it"]`` -> ``["got 57 to 72 % of it"]``
    """
    return [merged(group) for group in groups_of_similar(texts).values()]


def groups_of_similar(texts: Iterable[str]) -> dict[str, list[str]]:
    """The texts by what they have in common (``template``)."""
    groups: dict[str, list[str]] = {}
    for text in texts:
        groups.setdefault(template(text), []).append(text)
    return groups


def template(text: str) -> str:
    """The text with each number replaced by ``#``; a change stays one: ``from # to #``."""
    return NUMBER.sub(lambda match: "from # to #" if match[0].startswith("from ") else "#", text)


def merged(texts: Sequence[str]) -> str:
    """One text for texts of one template: each number that differs is a range."""
    numbers = [NUMBER.findall(text) for text in texts]
    ranges = iter([_range(values) for values in zip(*numbers, strict=True)])
    return NUMBER.sub(lambda match: next(ranges), texts[0])


def _range(values: Sequence[str]) -> str:
    ends = [value.removeprefix("from ").split(" to ") for value in values]
    if values[0].startswith("from "):
        before, after = (_between(texts, "-") for texts in zip(*ends, strict=True))
        return f"from {before} to {after}"
    return _between([end for pair in ends for end in pair], " to ")


def _between(numbers: Sequence[str], separator: str) -> str:
    ordered = sorted(numbers, key=_number)
    first, last = ordered[0], ordered[-1]
    return first if _number(first) == _number(last) else f"{first}{separator}{last}"


def _number(text: str) -> float:
    return float(text.replace(",", ""))
