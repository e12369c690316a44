"""Earlier answers to the question of a search: the same search, system, workload and SLO, in the same tree of outputs.

They tell a search where to begin, and nothing else. Those that were used stay in the sweep's directory, so that a
resumed search gets the same ones and asks for the same points, whatever other sweeps have answered meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchhydra.artifacts import JOURNALS_DIR, SWEEP_FILE, read_json_or_none, write_json
from benchhydra.points import point_identity
from benchhydra.result import point_settings
from benchhydra.search import Answer

#: The most earlier answers that a search is given.
MOST_ANSWERS = 3
#: A file for each question. Not beside the journals, which a resumed sweep removes.
HISTORIES_DIR = f"{JOURNALS_DIR}/histories"


def question_key(search: str, resolved: Mapping[str, Any], varies: Sequence[str]) -> str:
    """Identify what a search asks: its name, and its first point's config without the keys that the search varies."""
    varied = {*varies, *(f"load.{key}" for key in varies)}
    settings = {key: value for key, value in point_settings(resolved).items() if key not in varied}
    variant = [word for word in point_identity(resolved).variant.split(" ") if not word.startswith("seed=")]
    question = json.dumps([search, settings, variant], sort_keys=True, default=str)
    return hashlib.sha256(question.encode()).hexdigest()[:16]


def history_of(sweep_dir: Path, question: str) -> tuple[Answer, ...]:
    """The earlier answers with which a search begins, or has begun before the sweep was resumed. Raises ResultError."""
    file = sweep_dir / HISTORIES_DIR / f"{question}.json"
    stored = read_json_or_none(file)
    if stored is not None:
        return tuple(Answer.from_json(answer) for answer in stored["answers"])
    answers = earlier_answers(sweep_dir, question)
    write_json(file, {"answers": [answer.to_json() for answer in answers]})
    return answers


def earlier_answers(sweep_dir: Path, question: str) -> tuple[Answer, ...]:
    """The answers to a question in the sweeps beside this one, the newest first: values and bounds only."""
    dated = []
    for directory in _other_sweeps(sweep_dir):
        sweep = read_json_or_none(directory / SWEEP_FILE) or {}
        epoch_time = _number(sweep.get("epoch_time")) or 0.0
        dated += [(epoch_time, answer) for answer in _answers_to(question, sweep)]
    dated.sort(key=lambda entry: -entry[0])
    return tuple(answer for _, answer in dated[:MOST_ANSWERS])


def _other_sweeps(sweep_dir: Path) -> Iterator[Path]:
    """The sweeps in the same tree ``outputs/sweeps``, or in the same directory."""
    outputs = next((parent for parent in sweep_dir.parents if parent.name == "outputs"), None)
    files = sweep_dir.parent.glob(f"*/{SWEEP_FILE}") if outputs is None else outputs.glob(f"sweeps/*/*/{SWEEP_FILE}")
    yield from (file.parent for file in files if file.parent != sweep_dir)


def _answers_to(question: str, sweep: Mapping[str, Any]) -> Iterator[Answer]:
    """The value and bounds of each answer. Other versions write other fields, so that no more is read."""
    answers = sweep.get("answers")
    for data in answers if isinstance(answers, list) else ():
        if not isinstance(data, dict) or data.get("question") != question:
            continue
        value, low, high = (_number(data.get(name)) for name in ("value", "low", "high"))
        if value is not None:
            yield Answer(value=value, low=low, high=high, unit=str(data.get("unit") or ""))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
