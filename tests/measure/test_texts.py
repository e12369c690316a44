"""``texts.jsonl`` is JSON whatever a server has generated."""

from __future__ import annotations

import json
from pathlib import Path

from benchhydra.artifacts import TEXTS_FILE
from benchhydra.datasets import Prompt
from benchhydra.measure.texts import write_texts


def test_half_a_character_in_an_answer_is_written_as_its_escape(tmp_path: Path) -> None:
    write_texts(tmp_path, [Prompt("größer", 1, 1), Prompt("b", 1, 1)], ["cut \ud83d", "\u2028 😀"])
    texts = [json.loads(line) for line in (tmp_path / TEXTS_FILE).read_text(encoding="utf-8").split("\n")[:-1]]
    assert [text["generated"] for text in texts] == ["cut \ud83d", "\u2028 😀"]
    assert texts[0]["prompt"] == "größer"
