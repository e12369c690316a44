"""``dataset=sharegpt``: the first question and answer of each conversation, filtered as in vLLM's serving benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from benchhydra.datasets import Prompt, Tokenizer
from benchhydra.datasets.chat_template import message_text
from benchhydra.datasets.data_file import DataRecord
from benchhydra.datasets.file_dataset import FileDataset, UsableRecords, read_usable
from benchhydra.datasets.files import local
from benchhydra.datasets.fitting import Bounds, Candidate, fitting, smaller, take_prompts
from benchhydra.datasets.record_fields import InvalidRecord
from benchhydra.progress import Progress
from benchhydra.registry import knob, option


@option("dataset", "sharegpt")
class ShareGPT(FileDataset):
    """ShareGPT's JSON: the first human turn is the prompt; the first answer sets the output length.

    Turns may have ShareGPT's keys (from, value) or OpenAI's (role, content). Other records are left out, and counted.
    """

    min_tokens: int = knob(4, "minimum length of prompt and of output", unit="tokens")
    max_prompt_tokens: int = knob(1024, "maximum length of a prompt", unit="tokens")
    max_total_tokens: int = knob(2048, "maximum length of prompt and output together", unit="tokens")

    field_names = ("conversations",)

    def check(self, count: int) -> None:
        files = self.local_files()
        if files is not None:
            self.require(len(read_usable(self, files, self._pair).items), count)

    def warnings(self) -> tuple[str, ...]:
        sentence = self._usable().sentence(self.path)
        return (sentence,) if sentence else ()

    def sample(
        self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterator[Prompt]:
        """Return the first prompts that fit, after shuffling with ``rng``."""
        pairs = self._usable().items
        order = (pairs[i] for i in rng.permutation(len(pairs)).tolist())
        max_total = smaller(self.max_total_tokens, max_total_tokens)
        bounds = Bounds(min_tokens=self.min_tokens, max_prompt=self.max_prompt_tokens, max_total=max_total)
        dropped: Counter[str] = Counter()
        prompts = fitting(order, tokenizer, bounds, self.output_tokens, dropped)
        return take_prompts(prompts, count, self.path, dropped=dropped, allow_repeat=self.allow_repeat)

    def hint(self, field: str, record: DataRecord) -> str:
        return super().hint(field, record) or "dataset=ultrachat sends whole conversations"

    def _usable(self) -> UsableRecords[Candidate]:
        return read_usable(self, [local(self.path, Progress())], self._pair)

    def _pair(self, record: DataRecord) -> Candidate:
        """Return the first question with the first answer. Raises InvalidRecord."""
        name = self.field_names[0]
        turns = self.fields_of(record).messages(name, "messages")
        if turns is None:
            raise InvalidRecord(name, "there is no conversation")
        if [turn["role"] for turn in turns[:2]] != ["user", "assistant"]:
            begins = ", ".join(turn["role"] for turn in turns[:2])
            raise InvalidRecord(name, f"it begins with {begins}, not with user, assistant")
        text, answer = (message_text(turn) for turn in turns[:2])
        return Candidate(text, answer, messages=({"role": "user", "content": text},))
