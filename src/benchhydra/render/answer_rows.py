"""The answers of a sweep's searches as table rows and lines, from ``answers`` in its ``sweep.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchhydra.render.answer_text import answer_text, figure_texts, interval_text, limit_text, probes_text, requests_of
from benchhydra.render.figures import number, quantity
from benchhydra.render.sweep_rows import SweepRows, split_overrides

COLUMNS = ("search", "answer", "interval", "limited by", "yields", "probes", "requests", "note")
ALWAYS_SHOWN = ("search", "answer", "interval", "limited by", "probes")


def answers_of(sweep: SweepRows) -> list[Mapping[str, Any]]:
    """The answers of a sweep, each as its JSON object."""
    return [answer for answer in sweep.facts.get("answers") or () if isinstance(answer, Mapping)]


def answer_table(sweep: SweepRows) -> tuple[list[str], list[list[str]]]:
    """The columns of ``COLUMNS`` that have texts, and one row an answer. The answer of a failed search is its error."""
    rows = [_cells(sweep, answer) for answer in answers_of(sweep)]
    shown = [i for i, name in enumerate(COLUMNS) if name in ALWAYS_SHOWN or any(row[i] for row in rows)]
    return [COLUMNS[i] for i in shown], [[row[i] for i in shown] for row in rows]


def answer_lines(sweep: SweepRows) -> list[str]:
    """One line an answer: the study, the answer, the number of probes. Failed searches have none."""
    answers = [answer for answer in answers_of(sweep) if answer.get("value") is not None]
    return [f"{study_name(sweep, answer)}: {_with_probes(answer)}" for answer in answers]


def study_name(sweep: SweepRows, answer: Mapping[str, Any]) -> str:
    """The name of a study: its search, and the varying overrides that its points share."""
    shared = split_overrides(answer.get("overrides") or ())
    parts = [f"{key}={value}" for key, value in shared.items() if key in sweep.varying]
    return " ".join([f"search={answer.get('search', '')}", *parts])


def _with_probes(answer: Mapping[str, Any]) -> str:
    probes = probes_text(answer)
    return f"{answer_text(answer)} [{probes}]" if probes else answer_text(answer)


def _cells(sweep: SweepRows, answer: Mapping[str, Any]) -> tuple[str, ...]:
    value = answer.get("value")
    bound = str(answer.get("bound") or "")
    text = str(answer.get("error", "")) if value is None else quantity(value, str(answer.get("unit", "")))
    return (
        study_name(sweep, answer),
        f"{bound} {text}".strip(),
        interval_text(answer),
        limit_text(str(answer.get("limited_by") or "")),
        ", ".join(figure_texts(answer)),
        str(answer.get("probes") or ""),
        number(requests) if (requests := requests_of(answer)) else "",
        str(answer.get("note") or ""),
    )
