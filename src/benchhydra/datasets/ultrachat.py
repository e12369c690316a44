"""``dataset=ultrachat``: each user turn of a conversation, with all turns before it, is one prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchhydra.datasets import Dataset, Prompt, Tokenizer
from benchhydra.datasets.files import hub, local, rows
from benchhydra.datasets.fitting import Bounds, Candidate, fitting, smaller, take_prompts
from benchhydra.progress import Progress
from benchhydra.registry import knob, option


@option("dataset", "ultrachat")
class UltraChat(Dataset):
    """Conversations turn by turn, in the model's chat template."""

    prefix_cache_intended: bool = dataclasses.field(default=True, metadata={"doc": "turns share their history"})
    path: str = knob("HuggingFaceH4/ultrachat_200k", "hub id, or a local .json, .jsonl or .parquet")
    split: str = knob("test_sft", "split on the hub")
    max_total_tokens: int | None = knob(None, "maximum of prompt and output; null: the model's limit", unit="tokens")
    allow_repeat: bool = knob(False, "repeat prompts if there are too few")

    def prepare(self, progress: Progress) -> None:
        """Download the split once."""
        self._files(progress)

    def sample(
        self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterator[Prompt]:
        """Return the turns of shuffled conversations, those of one conversation in order."""
        files = self._files(Progress())
        conversations = [row["messages"] for file in files for row in rows(file) if row.get("messages")]
        order = (conversations[i] for i in rng.permutation(len(conversations)).tolist())
        turns = (turn for conversation in order for turn in _turns(conversation, tokenizer))
        bounds = Bounds(max_total=smaller(self.max_total_tokens, max_total_tokens))
        prompts = fitting(turns, tokenizer, bounds, self.output_tokens)
        return take_prompts(prompts, count, self.path, allow_repeat=self.allow_repeat)

    def _files(self, progress: Progress) -> list[Path]:
        if Path(self.path).suffix in (".json", ".jsonl", ".parquet"):
            return [local(self.path, progress)]
        return hub(self.path, self.split, progress)


def _turns(conversation: list[dict[str, Any]], tokenizer: Tokenizer) -> Iterator[Candidate]:
    messages = [{"role": str(turn["role"]), "content": str(turn["content"])} for turn in conversation]
    for i, message in enumerate(messages):
        if message["role"] == "user":
            history = messages[: i + 1]
            answer = messages[i + 1]["content"] if i + 1 < len(messages) else ""
            yield Candidate(tokenizer.chat(history), answer, messages=tuple(history))
