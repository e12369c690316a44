"""``dataset=ultrachat``: each user turn of a conversation, with all turns before it, is one prompt."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchhydra.datasets import Message, Prompt, Tokenizer
from benchhydra.datasets.chat_template import message_text
from benchhydra.datasets.data_file import CSV_DELIMITERS, DataRecord
from benchhydra.datasets.file_dataset import FileDataset, UsableRecords, read_usable
from benchhydra.datasets.files import hub, is_url, local
from benchhydra.datasets.fitting import Bounds, Candidate, fitting, smaller, take_prompts
from benchhydra.datasets.record_fields import InvalidRecord
from benchhydra.datasets.rendering import render_conversation
from benchhydra.progress import Progress
from benchhydra.registry import knob, option

#: Suffixes of data files: a path without one of them is a hub id, unless there is such a file.
SUFFIXES = {".json", ".jsonl", ".parquet", *CSV_DELIMITERS}


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """The messages of one record, and where it is in its file."""

    place: str
    messages: tuple[Message, ...]


@option("dataset", "ultrachat")
class UltraChat(FileDataset):
    """Conversations turn by turn, in the model's chat template. Records without one are left out, and counted."""

    prefix_cache_intended: bool = dataclasses.field(default=True, metadata={"doc": "turns share their history"})
    path: str = knob("HuggingFaceH4/ultrachat_200k", "hub id, or a local .json, .jsonl or .parquet")
    split: str = knob("test_sft", "split on the hub")
    max_total_tokens: int | None = knob(None, "maximum of prompt and output; null: the model's limit", unit="tokens")

    field_names = ("messages",)

    def prepare(self, progress: Progress) -> None:
        """Download the split once."""
        self._files(progress)

    def check(self, count: int) -> None:
        files = self.local_files() if self._is_file() else None
        if files is not None:
            conversations = read_usable(self, files, self._conversation).items
            self.require(sum(_user_turns(conversation) for conversation in conversations), count)

    def warnings(self) -> tuple[str, ...]:
        sentence = self._usable().sentence(self.path)
        return (sentence,) if sentence else ()

    def sample(
        self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterator[Prompt]:
        """Return the turns of shuffled conversations, those of one conversation in order."""
        conversations = self._usable().items
        order = (conversations[i] for i in rng.permutation(len(conversations)).tolist())
        turns = (turn for conversation in order for turn in _turns(conversation, tokenizer))
        bounds = Bounds(max_total=smaller(self.max_total_tokens, max_total_tokens))
        dropped: Counter[str] = Counter()
        prompts = fitting(turns, tokenizer, bounds, self.output_tokens, dropped)
        return take_prompts(prompts, count, self.path, dropped=dropped, allow_repeat=self.allow_repeat)

    def _usable(self) -> UsableRecords[Conversation]:
        return read_usable(self, self._files(Progress()), self._conversation)

    def _conversation(self, record: DataRecord) -> Conversation:
        messages = self.fields_of(record).messages(self.field_names[0], "conversations")
        if messages is None:
            raise InvalidRecord(self.field_names[0], "there is no conversation")
        return Conversation(record.place, messages)

    def _is_file(self) -> bool:
        return is_url(self.path) or bool(SUFFIXES.intersection(Path(self.path).suffixes)) or Path(self.path).exists()

    def _files(self, progress: Progress) -> list[Path]:
        return [local(self.path, progress)] if self._is_file() else hub(self.path, self.split, progress)


def _user_turns(conversation: Conversation) -> int:
    return sum(message["role"] == "user" for message in conversation.messages)


def _turns(conversation: Conversation, tokenizer: Tokenizer) -> Iterator[Candidate]:
    messages = conversation.messages
    for i, message in enumerate(messages):
        if message["role"] == "user":
            history = messages[: i + 1]
            answer = message_text(messages[i + 1]) if i + 1 < len(messages) else ""
            yield Candidate(render_conversation(history, tokenizer, conversation.place), answer, messages=history)
