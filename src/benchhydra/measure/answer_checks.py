"""Checks the texts of answers after the load: structured output, tool calls, and whether answers are as expected.

Checking while the load is sent would delay requests: validating JSON against a schema takes up to milliseconds, and a
regular expression any time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from benchhydra.client.answer_text import split_answer
from benchhydra.client.apis import Api
from benchhydra.output_check import CORRECT, LONGEST_CHECK_S, UNKNOWN, check_answers, time_limit
from benchhydra.records import Records

#: The label with the index of a row's request in the plan, by which its text is found.
REQUEST = "request"
TOOL_CALLS = "tool_calls"


def checked(records: Records, texts: Sequence[str], api: Api) -> Records:
    """Return the rows with the anomalies of their texts, and with the label ``TOOL_CALLS``: calls of each answer.

    texts: by request of the plan; records: with the label ``REQUEST``. The rows that are left after ``LONGEST_CHECK_S``
    keep ``UNKNOWN`` calls, as those without a complete answer do.
    """
    anomalies = records.anomalies.copy()
    calls = np.full(len(records), UNKNOWN, dtype=np.int32)
    with suppress(TimeoutError), time_limit(LONGEST_CHECK_S):
        for row in np.flatnonzero(records.completed).tolist():
            check = api.check_text(texts[records.labels[REQUEST][row]])
            anomalies[row] |= check.anomalies
            calls[row] = check.tool_calls
    return dataclasses.replace(records, anomalies=anomalies, labels={**records.labels, TOOL_CALLS: calls})


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


def unchecked_warning(records: Records, expected: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence if the time for a check of complete answers was too short, else ()."""
    completed, labels = records.completed, records.labels
    unchecked = completed & (labels[TOOL_CALLS] == UNKNOWN) if TOOL_CALLS in labels else np.zeros(len(records), bool)
    if CORRECT in labels:
        is_expected = np.array([bool(expect) for expect in expected])[labels[REQUEST]] & (labels[REQUEST] >= 0)
        unchecked |= completed & is_expected & (labels[CORRECT] == UNKNOWN)
    if not unchecked.any():
        return ()
    text = f"{unchecked.sum()} of {completed.sum()} answers were not checked: that took more than {LONGEST_CHECK_S:g} s"
    return (f"{text}; a regular expression like (a+)+ takes too long for some texts",)
