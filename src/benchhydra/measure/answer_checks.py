"""Checks the texts of answers after the load: structured output, tool calls, and whether answers are as expected.

Checking while the load is sent would delay requests: validating JSON against a schema takes up to milliseconds, and a
regular expression any time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from benchhydra.client.answer_text import split_answer
from benchhydra.client.apis import Api
from benchhydra.output_check import CORRECT, LONGEST_CHECK_S, UNKNOWN, check_answers
from benchhydra.records import Records

#: The label with the index of a row's request in the plan, by which its text is found.
REQUEST = "request"


def checked(records: Records, texts: Sequence[str], api: Api) -> Records:
    """Return the rows with the anomalies of their texts, and with the label ``tool_calls``: calls of each answer.

    texts: by request of the plan; records: with the label ``REQUEST``.
    """
    anomalies = records.anomalies.copy()
    calls = np.full(len(records), -1, dtype=np.int32)
    for row in np.flatnonzero(records.completed).tolist():
        check = api.check_text(texts[records.labels[REQUEST][row]])
        anomalies[row] |= check.anomalies
        calls[row] = check.tool_calls
    return dataclasses.replace(records, anomalies=anomalies, labels={**records.labels, "tool_calls": calls})


def output_check(texts: Sequence[str], expected: Sequence[str]) -> Sequence[int]:
    """Return whether each answer is as expected, as ``check_answers`` does; () if nothing is expected of any."""
    if not expected:
        return ()
    return check_answers([split_answer(text).answer for text in texts], expected, LONGEST_CHECK_S)


def with_outcomes(records: Records, outcomes: Sequence[int]) -> Records:
    """Return the rows with the label ``CORRECT``: the outcomes of completed answers, which are by request."""
    if not outcomes:
        return records
    requests = records.labels[REQUEST]
    correct = np.where(records.completed & (requests >= 0), np.array(outcomes, dtype=np.int32)[requests], UNKNOWN)
    return dataclasses.replace(records, labels={**records.labels, CORRECT: correct.astype(np.int32)})


def unchecked_warning(outcomes: Sequence[int], expected: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence if the time for the output check was too short, else ()."""
    left = sum(outcome == UNKNOWN and bool(expect) for outcome, expect in zip(outcomes, expected, strict=True))
    if not outcomes or not left:
        return ()
    text = f"{left} of {len(outcomes)} answers were not checked: the output check took more than {LONGEST_CHECK_S:g} s"
    return (f"{text}; a regular expression like (a+)+ takes too long for some texts",)
