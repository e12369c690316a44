"""Checks the texts of answers after the load: structured output and tool calls.

Checking while the load is sent would delay requests: validating JSON against a schema takes up to milliseconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from benchhydra.client.apis import Api
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
