"""What becomes of an answer in its row."""

from __future__ import annotations

import dataclasses
from array import array
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from tests.loadgen.loads import endpoint_of, plan_of

from benchhydra.client.apis import RequestOptions
from benchhydra.client.connection import Connection
from benchhydra.client.response import Response
from benchhydra.datasets import Prompt
from benchhydra.loadgen.sender.rows import RowWriter, secrets_in
from benchhydra.loadgen.shards import split_into_shards
from benchhydra.records import Records, Status

ASKED = 4


def answered(
    *,
    output_tokens: int = -1,
    chunks: int = 0,
    status: Status | None = None,
    error: str = "",
    first_ns: int = -1,
    headers: dict[str, str] | None = None,
    options: RequestOptions | None = None,
) -> tuple[Records, RowWriter]:
    """The row of one answer, and its writer."""
    endpoint = dataclasses.replace(endpoint_of(1), headers=headers or {})
    plan = plan_of(endpoint, [Prompt("hi", 1, ASKED)], options=options, send_times_s=np.zeros(1), keep_text=True)
    writer = RowWriter(split_into_shards(plan, 1)[0])
    answer = Response()
    answer.output_tokens, answer.chunks, answer.status, answer.error = output_tokens, chunks, status, error
    answer.texts = ["a", "b"]
    times = {"sent_ns": 10, "first_byte_ns": 12, "first_ns": first_ns, "last_ns": first_ns, "row": 0}
    connection: Any = SimpleNamespace(response=answer, gaps_ns=array("f", [1.0, 2.0]), **times)
    writer.answered(cast(Connection, connection), now_ns=30)
    return writer.records(), writer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"output_tokens": ASKED, "chunks": 4}, Status.OK),
        ({"output_tokens": ASKED - 1, "chunks": 3}, Status.SHORT),
        ({"chunks": 1}, Status.OK),  # without usage nobody knows how many tokens came
        ({"chunks": 0}, Status.SHORT),
        ({"output_tokens": 1, "options": RequestOptions(ignore_eos=False)}, Status.OK),
        ({"output_tokens": ASKED, "status": Status.EARLY_END}, Status.EARLY_END),
    ],
)
def test_an_answer_gets_the_status_of_its_outcome(answer: dict[str, Any], expected: Status) -> None:
    rows, writer = answered(**answer)
    assert rows.status.tolist() == [expected]
    failed = int(expected > Status.SHORT)
    assert (writer.progress.done, writer.progress.failed) == (1, failed)


def test_times_gaps_and_texts_are_recorded() -> None:
    rows, writer = answered(output_tokens=ASKED, first_ns=15)
    assert (rows.sent_ns[0], rows.first_byte_ns[0], rows.first_ns[0], rows.done_ns[0]) == (10, 12, 15, 30)
    assert rows.gaps_ns.tolist() == [1.0, 2.0]
    assert writer.texts() == ("ab",)
    assert (writer.progress.ttft_sum_ns, writer.progress.ttft_count) == (5, 1)


def test_an_answer_without_streaming_ends_with_its_last_text() -> None:
    rows, _ = answered(output_tokens=ASKED, options=RequestOptions(stream=False))
    assert (rows.first_ns[0], rows.last_ns[0], len(rows.gaps_ns)) == (-1, 30, 0)


def test_secrets_do_not_reach_the_rows() -> None:
    headers = {"Authorization": "Bearer sk-1234567", "X-Key": "abc", "X-Long": "Bearer sk-123"}
    error = "key sk-1234567 of Bearer sk-1234567 and sk-123 and abc"
    rows, _ = answered(status=Status.HTTP_4XX, error=error, headers=headers)
    assert rows.errors == ("key *** of *** and *** and abc",)
    assert "abc" not in secrets_in(headers)


def test_a_request_without_a_connection_is_a_row_without_a_sending_time() -> None:
    plan = plan_of(endpoint_of(1), [Prompt("hi", 1, 1)] * 2, send_times_s=np.zeros(2))
    writer = RowWriter(split_into_shards(plan, 1)[0])
    writer.never_sent(1, Status.REFUSED, "ECONNREFUSED")
    rows = writer.records()
    assert (len(rows), rows.failures(), rows.errors) == (1, {"refused": 1}, ("ECONNREFUSED",))
    assert rows.sent_ns[0] == -1 and rows.done_ns[0] > 0
