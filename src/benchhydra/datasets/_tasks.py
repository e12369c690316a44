"""The base of made tasks whose answers are known: a few solved examples, then the task, for the output check.

A prompt has two forms. As text, examples and task follow each other; as messages, the user asks and the assistant
answers, example by example. Small models solve tasks in the one form that their endpoint gives them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchhydra.datasets import Dataset, Message, Prompt, Tokenizer
from benchhydra.errors import ConfigError, DatasetError
from benchhydra.registry import knob

BATCH = 256


@dataclass(frozen=True)
class Task:
    """What is asked, and the only right answer."""

    question: str
    answer: str


@dataclass(kw_only=True)
class TaskDataset(Dataset):
    """Tasks of one kind; every request has examples of its own."""

    examples: int = knob(3, "solved examples before each task")
    output_tokens: int | None = knob(None, "output length; null: the answer's", unit="tokens")

    has_two_forms = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.examples < 0:
            raise ConfigError(f"dataset.examples={self.examples} must be at least 0")

    def tasks(self, count: int, rng: np.random.Generator) -> list[Task]:
        """Draw the tasks of one prompt: its examples, then what is asked."""
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
        prompts = (self.tasks(self.examples + 1, rng) for _ in range(count))
        while batch := list(itertools.islice(prompts, BATCH)):
            texts = [self._text(*tasks) for tasks in batch]
            lengths = zip(tokenizer.count_batch(texts), _answer_tokens(batch, tokenizer), strict=True)
            for tasks, text, (prompt_tokens, answer_tokens) in zip(batch, texts, lengths, strict=True):
                prompt = Prompt(
                    text,
                    prompt_tokens + tokenizer.overhead,
                    self.output_tokens or answer_tokens,
                    messages=self._messages(*tasks),
                    expect=self.expect or tasks[-1].answer,
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


def _answer_tokens(prompts: Sequence[Sequence[Task]], tokenizer: Tokenizer) -> list[int]:
    """Return the length of each answer, with the space before it or without: one token more does no harm.

    With ignore_eos, tokens after the answer's end would be glued to its last word.
    """
    answers = [tasks[-1].answer for tasks in prompts]
    alone, after_space = tokenizer.count_batch(answers), tokenizer.count_batch([f" {answer}" for answer in answers])
    return list(map(max, alone, after_space))
