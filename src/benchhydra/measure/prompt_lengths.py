"""Prompts with the lengths that the server will count: with the chat template's tokens where it adds them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchhydra.client.apis import Api
from benchhydra.datasets import Dataset, Prompt, Tokenizer
from benchhydra.datasets.chat_template import TemplatedTokenizer
from benchhydra.errors import ConfigError, DatasetError
from benchhydra.facts import fact

fact(
    "template_tokens",
    unit="tokens",
    doc="tokens that the chat template adds to a prompt of one message",
    in_metadata=True,
)
fact("lengths_of_texts", unit="bool", doc="the dataset's lengths do not hold the known tokens of the chat template")
BATCH = 256


@dataclass(frozen=True)
class PromptLengths:
    """How lengths are counted for one API. tokenizer: counts a text alone; templated: as the server does.

    warning: why the template's tokens are unknown; "" if they are known.
    """

    tokenizer: Tokenizer
    templated: Tokenizer
    warning: str = ""

    @classmethod
    def of(cls, tokenizer: Tokenizer, api: Api, dataset: Dataset) -> PromptLengths:
        """Return the lengths of prompts for an API. Raises ConfigError if they must, but cannot, be templated."""
        if not api.templated:
            return cls(tokenizer, tokenizer)
        try:
            return cls(tokenizer, TemplatedTokenizer(tokenizer))
        except ConfigError as error:
            if dataset.lengths == "templated":
                raise ConfigError(f"dataset.lengths=templated: {error.message}", hint=error.hint) from error
            warning = f"the tokens that the server's chat template adds to prompts are unknown: {error.message}"
            return cls(tokenizer, tokenizer, f"{warning} ({error.hint})" if error.hint else warning)

    def facts(self, dataset: Dataset) -> dict[str, Any]:
        """Return what the rules need to judge the server's counts."""
        added = self.template_tokens
        return {"template_tokens": added, "lengths_of_texts": added is not None and dataset.lengths == "prompt"}

    def warnings(self) -> tuple[str, ...]:
        """Return a sentence for the result if the template's tokens are unknown."""
        return (self.warning,) if self.warning else ()

    @property
    def template_tokens(self) -> int | None:
        """How many tokens the chat template adds to a prompt; None if there is none, or it is unknown."""
        return None if self.templated is self.tokenizer else self.templated.overhead - self.tokenizer.overhead

    def sample(
        self, dataset: Dataset, count: int, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterable[Prompt]:
        """Return prompts of the dataset with the lengths that the server will count.

        With ``dataset.lengths=templated`` the dataset's lengths hold the template's tokens, else these come on top.
        """
        if dataset.has_two_forms and self.templated is not self.tokenizer:
            return self._as_messages(dataset.sample(count, self.tokenizer, rng, max_total_tokens), max_total_tokens)
        added = self.template_tokens or 0
        if dataset.lengths == "templated" or not added:
            return dataset.sample(count, self.templated, rng, max_total_tokens)
        limit = None if max_total_tokens is None else max_total_tokens - added
        try:
            return self._with_template(dataset.sample(count, self.tokenizer, rng, limit))
        except DatasetError as error:
            text = f"{error.message} ({added} tokens of max_model_len={max_total_tokens} are the chat template's)"
            raise DatasetError(text if limit is not None else error.message, hint=error.hint) from error

    def _as_messages(self, prompts: Iterable[Prompt], max_total_tokens: int | None) -> Iterator[Prompt]:
        """Yield prompts with the lengths of their messages instead of their texts. Raises DatasetError if too long."""
        source = iter(prompts)
        while batch := list(itertools.islice(source, BATCH)):
            texts = [self.tokenizer.chat(prompt.messages or ()) for prompt in batch]
            counts = self.tokenizer.count_batch(texts)
            for prompt, text, count in zip(batch, texts, counts, strict=True):
                prompt_tokens = count + self.tokenizer.overhead
                total = prompt_tokens + prompt.output_tokens
                if max_total_tokens is not None and total > max_total_tokens:
                    words = f"{total} tokens of messages and output exceed max_model_len={max_total_tokens}"
                    raise DatasetError(words, hint="fewer or shorter examples")
                yield dataclasses.replace(prompt, text=text, prompt_tokens=prompt_tokens)

    def _with_template(self, prompts: Iterable[Prompt]) -> Iterator[Prompt]:
        source = iter(prompts)
        while batch := list(itertools.islice(source, BATCH)):
            counts = iter(self.templated.count_batch([prompt.text for prompt in batch if is_single_message(prompt)]))
            for prompt in batch:
                if is_single_message(prompt):
                    yield dataclasses.replace(prompt, prompt_tokens=next(counts) + self.templated.overhead)
                else:
                    yield prompt


def is_single_message(prompt: Prompt) -> bool:
    """Return whether the prompt's text is the user's message itself, not yet in the chat template."""
    return prompt.messages is None or prompt.messages == ({"role": "user", "content": prompt.text},)
