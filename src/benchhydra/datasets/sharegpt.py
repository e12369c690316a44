"""``dataset=sharegpt``: the first question and answer of each conversation, filtered as in vLLM's serving benchmark."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchhydra.datasets import Dataset, Prompt, Tokenizer
from benchhydra.datasets.files import local, rows
from benchhydra.datasets.fitting import Bounds, Candidate, fitting, smaller, take_prompts
from benchhydra.progress import Progress
from benchhydra.registry import knob, option


@option("dataset", "sharegpt")
class ShareGPT(Dataset):
    """ShareGPT's JSON: the first human turn is the prompt; the first answer sets the output length."""

    path: str = knob("???", "file or https URL of the JSON")
    min_tokens: int = knob(4, "minimum length of prompt and of output", unit="tokens")
    max_prompt_tokens: int = knob(1024, "maximum length of a prompt", unit="tokens")
    max_total_tokens: int = knob(2048, "maximum length of prompt and output together", unit="tokens")
    allow_repeat: bool = knob(False, "repeat prompts if there are too few")

    def prepare(self, progress: Progress) -> None:
        """Download a URL once."""
        local(self.path, progress)

    def sample(
        self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterator[Prompt]:
        """Return the first prompts that fit, after shuffling with ``rng``."""
        pairs = list(self._pairs())
        order = (pairs[i] for i in rng.permutation(len(pairs)).tolist())
        max_total = smaller(self.max_total_tokens, max_total_tokens)
        bounds = Bounds(min_tokens=self.min_tokens, max_prompt=self.max_prompt_tokens, max_total=max_total)
        prompts = fitting(order, tokenizer, bounds, self.output_tokens)
        return take_prompts(prompts, count, self.path, allow_repeat=self.allow_repeat)

    def _pairs(self) -> Iterator[Candidate]:
        for row in rows(local(self.path, Progress())):
            match row.get("conversations"):
                case [{"from": "human", "value": str(text)}, {"from": "gpt", "value": str(answer)}, *_]:
                    yield Candidate(text, answer, messages=({"role": "user", "content": text},))
