"""``dataset=jsonl``: prompts from a file with one JSON object per line, optionally with send times for load=trace."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchhydra.datasets import Dataset, Prompt, Tokenizer
from benchhydra.datasets.files import local, numbered
from benchhydra.datasets.fitting import Bounds, Candidate, fitting, take_prompts
from benchhydra.errors import DatasetError
from benchhydra.progress import Progress
from benchhydra.registry import knob, option

TIMES = ("send_at_s", "timestamp")


@option("dataset", "jsonl")
class Jsonl(Dataset):
    """Lines of {"prompt": TEXT} or {"messages": [...]}; optional keys: "output_tokens", "send_at_s"."""

    path: str = knob("???", "file or https URL")
    shuffle: bool = knob(False, "draw prompts in random order; else in the file's order")
    allow_repeat: bool = knob(False, "repeat prompts if there are too few")

    def prepare(self, progress: Progress) -> None:
        """Download a URL once."""
        local(self.path, progress)

    def sample(
        self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterator[Prompt]:
        """Return prompts in the file's order, or shuffled. Send times are relative to the first one in the file."""
        lines = list(numbered(local(self.path, Progress())))
        first_s = next((at for number, row in lines if (at := self._time_s(row, number)) is not None), 0.0)
        order = rng.permutation(len(lines)).tolist() if self.shuffle else range(len(lines))
        candidates = (self._candidate(*lines[i], first_s, tokenizer) for i in order)
        prompts = fitting(candidates, tokenizer, Bounds(max_total=max_total_tokens), self.output_tokens)
        return take_prompts(prompts, count, self.path, allow_repeat=self.allow_repeat)

    def _candidate(self, number: int, row: dict[str, Any], first_s: float, tokenizer: Tokenizer) -> Candidate:
        messages = self._messages(row, number)
        if messages is None and not isinstance(row.get("prompt"), str):
            raise self._error(number, 'neither a text "prompt" nor "messages"')
        output_tokens = self.output_tokens or row.get("output_tokens")
        if type(output_tokens) is not int or output_tokens < 1:
            raise self._error(
                number, "no output_tokens that is a whole number above 0", hint="dataset.output_tokens=128"
            )
        at_s = self._time_s(row, number)
        return Candidate(
            tokenizer.chat(list(messages)) if messages else row["prompt"],
            output_tokens=output_tokens,
            messages=messages,
            send_at_s=None if at_s is None else at_s - first_s,
        )

    def _messages(self, row: dict[str, Any], number: int) -> tuple[dict[str, str], ...] | None:
        """Return the role and content of each message; None if the line has no messages. Raises DatasetError."""
        messages = row.get("messages")
        if messages is None:
            return None
        if not isinstance(messages, list) or not messages:
            raise self._error(number, '"messages" that are not a list of messages')
        for message in messages:
            if not isinstance(message, dict) or not all(isinstance(message.get(k), str) for k in ("role", "content")):
                raise self._error(number, 'a message without a text "role" and a text "content"')
        return tuple({"role": message["role"], "content": message["content"]} for message in messages)

    def _time_s(self, row: dict[str, Any], number: int) -> float | None:
        at = next((row[key] for key in TIMES if row.get(key) is not None), None)
        if at is None:
            return None
        if isinstance(at, bool) or not isinstance(at, (int, float)) or not math.isfinite(at):
            raise self._error(number, f"the send time {at!r}, which is not a number of seconds")
        return float(at)

    def _error(self, number: int, what: str, *, hint: str = "") -> DatasetError:
        return DatasetError(f"{self.path}:{number} has {what}", hint=hint)
