"""The answers of a sweep's searches as table rows, from ``answers`` in its ``sweep.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchhydra.render.figures import number, quantity
from benchhydra.render.sweep_rows import SweepRows, split_overrides

COLUMNS = ("search", "answer", "interval", "limited by", "probes")


def answer_rows(sweep: SweepRows) -> list[tuple[str, ...]]:
    """One row an answer, one cell for each of ``COLUMNS``. The answer of a failed search is its error."""
    answers = [answer for answer in sweep.facts.get("answers") or () if isinstance(answer, Mapping)]
    return [_cells(sweep, answer) for answer in answers]


def _cells(sweep: SweepRows, answer: Mapping[str, Any]) -> tuple[str, ...]:
    value, low, high = (answer.get(name) for name in ("value", "low", "high"))
    text = str(answer.get("error", "")) if value is None else quantity(value, str(answer.get("unit", "")))
    interval = "" if low is None or high is None else f"{number(low)} to {number(high)}"
    return (_study(sweep, answer), text, interval, str(answer.get("limited_by", "")), str(answer.get("probes", "")))


def _study(sweep: SweepRows, answer: Mapping[str, Any]) -> str:
    """The name of a study: its search, and the varying overrides that its points share."""
    shared = split_overrides(answer.get("overrides") or ())
    parts = [f"{key}={value}" for key, value in shared.items() if key in sweep.varying]
    return " ".join([f"search={answer.get('search', '')}", *parts])
