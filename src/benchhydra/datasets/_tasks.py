"""The base of made tasks whose answers are known: a few solved examples, then the task, for the output check.

A prompt has two forms. As text, examples and task follow each other; as messages, the user asks and the assistant
answers, example by example. Small models solve tasks in the one form that their endpoint gives them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchhydra.datasets import Dataset, Message, Prompt, Tokenizer
from benchhydra.errors import ConfigError, DatasetError
from benchhydra.registry import knob

BATCH = 256
#: Tokens that are generated beside those of the answer: a space or a line feed before it.
MARGIN_TOKENS = 2


@dataclass(frozen=True)
class Task:
    """What is asked, and the only right answer."""

    question: str
    answer: str


@dataclass(kw_only=True)
class TaskDataset(Dataset):
    """Tasks of one kind; every request has examples of its own."""

    examples: int = knob(3, "solved examples before each task")
    output_tokens: int | None = knob(None, "output length; null: the answer's, and two more", unit="tokens")

    has_two_forms = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.examples < 0:
            raise ConfigError(f"dataset.examples={self.examples} must be at least 0")

    def task(self, rng: np.random.Generator) -> Task:
        """Draw a task."""
        raise NotImplementedError

    def as_text(self, task: Task) -> str:
        """Return a task as text; the answer follows after a space."""
        raise NotImplementedError

    def as_message(self, task: Task) -> str:
        """Return a task as a message of the user."""
        raise NotImplementedError

    def sample(
        self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterator[Prompt]:
        """Return tasks. Raises DatasetError if one is too long for the model."""
        tasks = ([self.task(rng) for _ in range(self.examples + 1)] for _ in range(count))
        while batch := list(itertools.islice(tasks, BATCH)):
            texts = [self._text(*each) for each in batch]
            lengths = tokenizer.count_batch(texts)
            answers = tokenizer.count_batch([each[-1].answer for each in batch])
            for each, text, length, answer_tokens in zip(batch, texts, lengths, answers, strict=True):
                output_tokens = self.output_tokens or answer_tokens + MARGIN_TOKENS
                prompt = Prompt(
                    text,
                    length + tokenizer.overhead,
                    output_tokens,
                    messages=self._messages(*each),
                    expect=self.expect or each[-1].answer,
                )
                self._check_length(prompt, max_total_tokens)
                yield prompt

    def _text(self, *tasks: Task) -> str:
        *examples, task = tasks
        return "\n\n".join([*(f"{self.as_text(each)} {each.answer}" for each in examples), self.as_text(task)])

    def _messages(self, *tasks: Task) -> tuple[Message, ...]:
        *examples, task = tasks
        turns = [
            ({"role": "user", "content": self.as_message(each)}, {"role": "assistant", "content": each.answer})
            for each in examples
        ]
        return (*itertools.chain.from_iterable(turns), {"role": "user", "content": self.as_message(task)})

    def _check_length(self, prompt: Prompt, max_total_tokens: int | None) -> None:
        total = prompt.prompt_tokens + prompt.output_tokens
        if max_total_tokens is not None and total > max_total_tokens:
            text = f"{total} tokens of prompt and output exceed max_model_len={max_total_tokens}"
            raise DatasetError(text, hint="a smaller dataset.examples")
