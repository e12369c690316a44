"""Earlier answers as the place where a search begins: which ones count, and that a resumed search gets the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.search.outcomes import planned

from benchhydra.search import Answer, Figure
from benchhydra.sweep.group.history import earlier_answers, history_of, question_key
from benchhydra.sweep.study_result import StudyResult
from benchhydra.sweep.sweep_directory import open_sweep

CONFIG: dict[str, Any] = {
    "script": "serving",
    "qps": 4.0,
    "seed": 1,
    "load": {"qps": 4.0, "shape": "poisson"},
    "slo": {"p99_ttft_ms": 500},
    "engine": {"args": {"max_num_seqs": 64}},
}
VARIES = ("qps",)


def changed(**changes: Any) -> dict[str, Any]:
    return {**CONFIG, **changes}


def test_the_question_is_the_same_at_another_rate_or_seed_only() -> None:
    question = question_key("capacity", CONFIG, VARIES)
    same = changed(qps=8.0, load={"qps": 8.0, "shape": "poisson"}, seed=2)
    assert question_key("capacity", same, VARIES) == question
    others = [
        question_key("knee", CONFIG, VARIES),
        question_key("capacity", changed(slo={"p99_ttft_ms": 200}), VARIES),
        question_key("capacity", changed(engine={"args": {"max_num_seqs": 128}}), VARIES),
        question_key("capacity", changed(engine={"args": {"max_num_seqs": 64}, "python": "/b"}), VARIES),
    ]
    assert len({question, *others}) == 5


def write(directory: Path, epoch_time: float, *answers: dict[str, Any]) -> None:
    directory.mkdir(parents=True)
    (directory / "sweep.json").write_text(json.dumps({"epoch_time": epoch_time, "answers": answers}))


def answer(value: float, question: str = "q") -> dict[str, Any]:
    found = Answer(value=value, unit="requests/s", low=value - 1, figures=(Figure(name="x", value=1.0, unit="W"),))
    return StudyResult(search="capacity", overrides=(), answer=found, question=question).to_json()


@pytest.mark.parametrize("tree", ["outputs/sweeps/2026-11-26", "mine"])
def test_the_newest_answers_to_the_same_question_count(tmp_path: Path, tree: str) -> None:
    root = tmp_path / tree
    write(root / "new", 3.0, answer(12.0))
    write(root / "middle", 2.0, answer(11.0), {"search": "capacity", "error": "no server", "question": "q"})
    write(root / "this", 9.0, answer(50.0))
    (root / "damaged").mkdir()
    (root / "damaged/sweep.json").write_text("{")
    write(root / "text", 4.0, {"question": "q", "value": "many"}, {"question": "q", "value": None})
    newer_fields = {**answer(10.0), "figures": [{"name": "x", "symbol": "a field of another version"}]}
    write(root / "old", 1.0, newer_fields, answer(99.0, question="other"))
    (root / "null").mkdir()
    (root / "null/sweep.json").write_text('{"epoch_time": "yesterday", "answers": null}')
    found = earlier_answers(root / "this", "q")
    assert [(one.value, one.low) for one in found] == [(12.0, 11.0), (11.0, 10.0), (10.0, 9.0)]
    assert found[0].figures == ()
    assert earlier_answers(root / "this", "nothing") == ()


def test_a_resumed_sweep_begins_with_the_answers_of_its_first_run(tmp_path: Path) -> None:
    """Opening a sweep again removes its journals, and another sweep may have answered the question meanwhile."""
    sweep, point = tmp_path / "this", planned("qps=1")
    write(tmp_path / "old", 1.0, answer(10.0))
    with open_sweep(sweep, [point], resumed=False):
        first, none = history_of(sweep, "q"), history_of(sweep, "new")
    assert [(one.value, one.low) for one in first] == [(10.0, 9.0)]
    assert none == ()
    write(tmp_path / "newer", 2.0, answer(99.0), answer(98.0, question="new"))
    with open_sweep(sweep, [point], resumed=True):
        assert history_of(sweep, "q") == first
        assert history_of(sweep, "new") == none
