"""The words of failed requests: grouped, counted, cut, without secrets, and in every place that shows a result."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from tests.test_result import made

from benchhydra.analysis.read_runs import read_runs
from benchhydra.failure_texts import MOST_CHARACTERS, MOST_TEXTS, commonest_failure, failure_texts
from benchhydra.records import Records, Status
from benchhydra.redaction import protect
from benchhydra.report.data.details import read_details
from benchhydra.result import FailureText, Result
from benchhydra.tracking.entry import run_note, run_tags


def failed(texts: list[tuple[Status, str]]) -> Records:
    """Rows with these statuses and error texts."""
    count = len(texts)
    spans = Records.of_spans([0] * count, [1] * count)
    status = np.array([int(status) for status, _ in texts], dtype=np.int32)
    error = np.array([-1 if not text else i for i, (_, text) in enumerate(texts)], dtype=np.int32)
    return dataclasses.replace(spans, status=status, error=error, errors=tuple(text for _, text in texts))


def test_texts_that_differ_in_numbers_and_ids_count_as_one() -> None:
    texts = [(Status.HTTP_5XX, f"HTTP 500: request 4f0{i}ab-77{i} failed after {i} ms") for i in range(6)]
    texts += [(Status.TIMEOUT, "no complete answer within 20 s")] * 2 + [(Status.OK, ""), (Status.CANCELLED, "stopped")]
    found = failure_texts(failed(texts))
    assert [(failure.status, failure.count) for failure in found] == [("http_5xx", 6), ("timeout", 2)]
    assert found[0].text == "HTTP 500: request 4f00ab-770 failed after 0 ms"
    assert str(found[1]) == "2 x timeout: no complete answer within 20 s"
    assert commonest_failure(failed(texts)) == found[0].text
    assert commonest_failure(failed([(Status.OK, "")])) == ""


def test_texts_are_few_short_harmless_and_without_secrets() -> None:
    protect(["verysecretvalue99"])
    texts = [(Status.HTTP_4XX, f"bad {chr(97 + i) * 3}") for i in range(9)]
    assert len(failure_texts(failed(texts))) == MOST_TEXTS
    (failure,) = failure_texts(failed([(Status.HTTP_4XX, "x" * (MOST_CHARACTERS - 8) + "verysecretvalue99\x1b[2J\n")]))
    assert len(failure.text) <= MOST_CHARACTERS and "verys" not in failure.text and "\x1b" not in failure.text


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0"])
def test_results_of_every_schema_are_read(version: str) -> None:
    data = made().to_json() | {"json_schema_version": version}
    if version < "1.2.0":
        del data["failure_texts"]
    assert Result.from_json(data).failure_texts == ()


def test_mlflow_and_the_report_show_the_words(tmp_path: Path) -> None:
    result = made()
    result.failures = {"http_5xx": 3}
    result.failure_texts = (FailureText(status="http_5xx", text="HTTP 500: CUDA out of memory", count=3),)
    data = json.loads(result.write(tmp_path).read_text())
    assert data["failure_texts"] == [{"status": "http_5xx", "text": "HTTP 500: CUDA out of memory", "count": 3}]
    assert Result.read(tmp_path).failure_texts == result.failure_texts
    assert run_tags(result)["failures"] == "3 x http_5xx: HTTP 500: CUDA out of memory"
    assert "CUDA out of memory" in run_note(result, tmp_path)
    (run,) = read_runs(str(tmp_path)).runs
    assert read_details(run).failure_texts == ("3 x http_5xx: HTTP 500: CUDA out of memory",)
