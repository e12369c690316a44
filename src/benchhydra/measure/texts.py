"""``texts.jsonl``: prompts and generated texts of a run, one JSON object per line, in the order of the requests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchhydra.artifacts import TEXTS_FILE
from benchhydra.client.answer_text import split_answer
from benchhydra.datasets import Prompt
from benchhydra.output_check import UNKNOWN, check_answers
from benchhydra.redaction import redact_known


def write_texts(directory: Path, prompts: Sequence[Prompt], texts: Sequence[str], outcomes: Sequence[int] = ()) -> None:
    """Write the file. Raises ValueError if the numbers of prompts and texts differ.

    outcomes: of the output check, by answer, as ``check_answers`` returns them; by default it is done here.
    """
    answers = [split_answer(text) for text in texts]
    outcomes = outcomes or check_answers([each.answer for each in answers], [prompt.expect for prompt in prompts])
    # A lone surrogate in a server's answer becomes its JSON escape instead of an error after the run.
    with (directory / TEXTS_FILE).open("w", encoding="utf-8", errors="backslashreplace") as file:
        for prompt, parts, outcome in zip(prompts, answers, outcomes, strict=True):
            line: dict[str, Any] = {"prompt": prompt.messages or prompt.text, "generated": parts.answer}
            line |= {"texts": prompt.texts} if prompt.texts else {}
            line |= {"reasoning": parts.reasoning} if parts.reasoning else {}
            line |= {"tool_calls": parts.calls} if parts.calls else {}
            if prompt.expect:
                line |= {"expect": prompt.expect, "correct": None if outcome == UNKNOWN else bool(outcome)}
            file.write(redact_known(json.dumps(line, ensure_ascii=False)) + "\n")
