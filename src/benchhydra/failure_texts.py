"""Why requests failed, in the words of the server or of the operating system: the most frequent texts of a run."""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np

from benchhydra.escaping import printable
from benchhydra.records import Records, Status
from benchhydra.redaction import excerpt
from benchhydra.result import FailureText

#: How many texts a result has, and how many characters of each.
MOST_TEXTS = 5
MOST_CHARACTERS = 300
#: What differs between the same errors of different requests: ids, counts, times, addresses.
_VARYING = re.compile(r"\b(?:0x)?[0-9a-f]*\d[0-9a-f]*(?:-[0-9a-f]+)*\b", re.IGNORECASE)


def failure_texts(rows: Records, most: int = MOST_TEXTS) -> tuple[FailureText, ...]:
    """Return the texts of failed rows by number of requests, at most ``most``, without secrets.

    Texts that differ only in numbers and ids are counted as one, of which the first is returned.
    """
    pairs, counts = np.unique(
        np.stack((rows.status, rows.error))[:, rows.failed & (rows.error >= 0)], axis=1, return_counts=True
    )
    groups: dict[tuple[int, str], int] = defaultdict(int)
    first: dict[tuple[int, str], str] = {}
    for status, error, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
        text = rows.errors[error] or "no error text"
        group = status, _VARYING.sub("#", text)
        groups[group] += count
        first.setdefault(group, text)
    by_count = sorted(groups, key=lambda group: -groups[group])[:most]
    return tuple(
        FailureText(
            status=Status(group[0]).name.lower(),
            text=printable(excerpt(first[group], MOST_CHARACTERS)),
            count=groups[group],
        )
        for group in by_count
    )


def commonest_failure(rows: Records) -> str:
    """Return the most frequent text of failed rows; empty if no row has one."""
    return next((failure.text for failure in failure_texts(rows, 1)), "")
