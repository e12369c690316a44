"""Answers of searches as a line, as cells and as CSV."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from tests.render.test_summary import printed, result, sweep

from benchhydra.render.answer_text import answer_text, limit_text
from benchhydra.render.sweep_rows import read_sweep
from benchhydra.render.sweep_summary import write_summary
from benchhydra.result import Result

KEY = "0123456789abcdef"
CAPACITY: dict[str, Any] = {
    "search": "capacity",
    "overrides": ["model=a"],
    "value": 14.2,
    "low": 13.7,
    "high": 14.8,
    "confidence": 0.95,
    "unit": "requests/s",
    "limited_by": "p99_ttft_ms <= 500",
    "probes": 7,
    "figures": [
        {"name": "request_throughput", "unit": "requests/s", "value": 14.2},
        {"name": "output_throughput", "unit": "tokens/s", "value": 909.0},
        {"name": "output_throughput_per_gpu", "unit": "tokens/s", "value": 227.2},
        {"name": "cost_per_1m_output_tokens", "unit": "USD/1M tokens", "value": 0.41},
    ],
    "evidence": [
        {"key_value": 8.0, "requests": 300, "decision": "met", "point_key": KEY, "repeat": 0},
        {"key_value": 16.0, "requests": 120, "decision": "missed", "point_key": KEY, "repeat": 1},
    ],
}
LINE = (
    "14.20 requests/s (13.70 to 14.80, 95 %), limited by p99 TTFT <= 500 ms; "
    "909 tokens/s, 227.2 per GPU, $0.41 per million"
)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (CAPACITY, LINE),
        (
            {"value": 40.0, "unit": "requests/s", "bound": "at least", "note": "every probe met the SLO"},
            "at least 40 requests/s; every probe met the SLO",
        ),
        ({"value": 31.2345, "unit": "ms", "name": "mean of p99_ttft_ms"}, "mean of p99_ttft_ms 31.23 ms"),
        ({"value": 12.5, "low": 12, "high": 13.25, "unit": "requests/s"}, "12.50 requests/s (12 to 13.25)"),
        ({"value": 3, "unit": "x", "figures": [{"name": "odd", "unit": "W", "value": 2}]}, "3 x; odd 2 W"),
        ({"error": "no probe met the SLO"}, "no probe met the SLO"),
    ],
)
def test_an_answer_is_one_line(answer: dict[str, Any], text: str) -> None:
    assert answer_text(answer) == text


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ("p99.9_itl_ms <= 80", "p99.9 ITL <= 80 ms"),
        ("mean_scheduled_e2el_ms <= 80", "mean E2EL scheduled <= 80 ms"),
        ("share >= 0.99", "requests within the limits >= 0.99"),
        ("output_throughput >= 100", "output_throughput >= 100"),
        ("search.max_repeats=3", "search.max_repeats=3"),
    ],
)
def test_a_limit_is_said_in_the_fields_words(limit: str, text: str) -> None:
    assert limit_text(limit) == text


def directory_of(tmp_path: Path) -> Path:
    """A sweep of two models and two rates with an answer to one model, and an error of the other."""
    points: dict[str, Result | None] = {
        f"model={m} qps={q}": result(point_key=KEY, repeat=i) for m in "ab" for i, q in enumerate((8, 16))
    }
    failed = {"search": "capacity", "overrides": ["model=b"], "error": "=no; server"}
    return sweep(tmp_path, points, answers=[CAPACITY, failed])


def test_the_terminal_begins_with_the_answers_and_says_what_each_probe_decided(tmp_path: Path) -> None:
    text = printed(directory_of(tmp_path), width=200)
    assert text.startswith(f"search=capacity model=a: {LINE} [7 probes, 420 requests]\n")
    assert text.splitlines()[2].split()[-2:] == ["verdict", "SLO"] or "SLO" in text.splitlines()[3]
    rows = [line.split()[-1] for line in text.splitlines() if line.startswith(("a ", "b "))]
    assert rows == ["met", "missed", "VALID", "VALID"]


def test_files_have_the_answers_and_what_each_probe_decided(tmp_path: Path) -> None:
    directory = directory_of(tmp_path)
    write_summary(directory)
    markdown = (directory / "summary.md").read_text(encoding="utf-8")
    assert "| search=capacity model=a | 14.20 requests/s | 13.70 to 14.80, 95 % | p99 TTFT &lt;= 500 ms | " in markdown
    assert " verdict | SLO |" in markdown and "| missed |" in markdown
    answers = list(csv.DictReader(StringIO((directory / "answers.csv").read_text(encoding="utf-8"))))
    assert [row["model"] for row in answers] == ["a", "b"]
    assert float(answers[0]["value"]) == 14.2 and answers[0]["cost_per_1m_output_tokens"] == "0.41"
    assert answers[1]["error"] == "'=no; server" and answers[1]["value"] == ""
    points = list(csv.DictReader(StringIO((directory / "summary.csv").read_text(encoding="utf-8"))))
    assert [row["slo"] for row in points] == ["met", "missed", "", ""]


def test_a_sweep_without_a_search_has_no_such_column_or_file(tmp_path: Path) -> None:
    directory = sweep(tmp_path, {"qps=1": result(), "qps=2": result()})
    write_summary(directory)
    assert not (directory / "answers.csv").exists()
    assert "SLO" not in printed(directory) and ",slo," not in (directory / "summary.csv").read_text(encoding="utf-8")
    assert read_sweep(directory).rows[0].decision == ""
    assert json.loads((directory / "sweep.json").read_text(encoding="utf-8")).get("answers") in (None, [])
