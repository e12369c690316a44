"""Your own prompts, one JSON object a line, in the file's order; with recorded times for load=trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchhydra.datasets import Dataset, Prompt, Tokenizer
from benchhydra.datasets._files import local, rows
from benchhydra.datasets._fitting import Bounds, Candidate, fitting, take
from benchhydra.errors import DatasetError
from benchhydra.progress import Progress
from benchhydra.registry import knob, option


@option("dataset", "jsonl")
class Jsonl(Dataset):
    """Lines of {"prompt": TEXT} or {"messages": [...]}, with "output_tokens" and "send_at_s" where you have them."""

    path: str = knob("???", "file or https URL")
    shuffle: bool = knob(False, "draw in random order; else as in the file")
    allow_repeat: bool = knob(False, "use prompts again where there are too few")

    def prepare(self, progress: Progress) -> None:
        """Download a URL once."""
        local(self.path, progress)

    def sample(
        self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterator[Prompt]:
        """As in the file, or shuffled by ``rng``."""
        lines = list(rows(local(self.path, Progress())))
        order = rng.permutation(len(lines)).tolist() if self.shuffle else range(len(lines))
        candidates = (self._candidate(lines[i], i + 1, tokenizer) for i in order)
        prompts = fitting(candidates, tokenizer, Bounds(max_total=max_total_tokens), self.output_tokens)
        return take(prompts, count, self.path, allow_repeat=self.allow_repeat)

    def _candidate(self, row: dict[str, Any], number: int, tokenizer: Tokenizer) -> Candidate:
        messages = row.get("messages")
        if not isinstance(row.get("prompt"), str) and not messages:
            raise DatasetError(f'{self.path}: object {number} has neither a text "prompt" nor "messages"')
        wanted = self.output_tokens or row.get("output_tokens")
        if not isinstance(wanted, int) or wanted < 1:
            raise DatasetError(f"{self.path}: object {number} has no output_tokens", hint="dataset.output_tokens=128")
        at = row.get("send_at_s", row.get("timestamp"))
        return Candidate(
            tokenizer.chat(messages) if messages else row["prompt"],
            output_tokens=wanted,
            messages=tuple(messages) if messages else None,
            send_at_s=None if at is None else float(at),
        )
