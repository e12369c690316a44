"""``texts.jsonl``: prompts and generated texts of a run, one JSON object per line, in the order of the requests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchhydra.artifacts import TEXTS_FILE
from benchhydra.client.answer_text import split_answer
from benchhydra.datasets import Prompt
from benchhydra.output_check import is_correct
from benchhydra.redaction import redact_known


def write_texts(directory: Path, prompts: Iterable[Prompt], texts: Iterable[str]) -> None:
    """Write the file. Raises ValueError if the numbers of prompts and texts differ."""
    # A lone surrogate in a server's answer becomes its JSON escape instead of an error after the run.
    with (directory / TEXTS_FILE).open("w", encoding="utf-8", errors="backslashreplace") as file:
        for prompt, text in zip(prompts, texts, strict=True):
            parts = split_answer(text)
            line: dict[str, Any] = {"prompt": prompt.messages or prompt.text, "generated": parts.answer}
            line |= {"texts": prompt.texts} if prompt.texts else {}
            line |= {"reasoning": parts.reasoning} if parts.reasoning else {}
            line |= {"tool_calls": parts.calls} if parts.calls else {}
            if prompt.expect:
                line |= {"expect": prompt.expect, "correct": is_correct(parts.answer, prompt.expect)}
            file.write(redact_known(json.dumps(line, ensure_ascii=False)) + "\n")
