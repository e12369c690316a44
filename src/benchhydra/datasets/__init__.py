"""Datasets: where prompts come from. An option is one file; ``sample`` is its one job."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchhydra.progress import Progress
from benchhydra.registry import knob


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request's input. ``text`` for completions; ``messages`` (role and content) where the data is a conversation.

    prompt_tokens: of ``text`` under the model's tokenizer, with special tokens, as the server counts them.
    output_tokens: how many to ask for.
    """

    text: str
    prompt_tokens: int
    output_tokens: int
    messages: tuple[dict[str, str], ...] | None = None
    send_at_s: float | None = None  # recorded send time, for load=trace


class Tokenizer(Protocol):
    """What datasets need of a tokenizer.

    ``encode``, ``encode_batch`` and ``count_batch`` add no special tokens; a server adds ``overhead`` of them.
    """

    vocab_size: int
    overhead: int

    def encode(self, text: str) -> list[int]: ...
    def encode_batch(self, texts: list[str]) -> list[list[int]]: ...
    def decode(self, ids: list[int]) -> str: ...
    def decode_batch(self, batch: list[list[int]]) -> list[str]: ...
    def count_batch(self, texts: list[str]) -> list[int]:
        """How many tokens each text has."""

    def token(self, token_id: int) -> str:
        """A token as the vocabulary writes it; empty where there is no token of this id."""

    def tokens_are_additive(self) -> bool:
        """Whether no token spans an ASCII word and the space after it: then a word has as many tokens in every text."""

    def chat(self, messages: list[dict[str, str]]) -> str:
        """The conversation as the model's chat template writes it, ending with the generation prompt."""


@dataclass(kw_only=True)
class Dataset:
    """Base of the ``dataset`` group."""

    output_tokens: int | None = knob(None, "asked output length of every request; null: the data's own", unit="tokens")
    prefix_cache_intended: bool = dataclasses.field(
        default=False, metadata={"doc": "prompts share prefixes on purpose"}
    )

    def prepare(self, progress: Progress) -> None:
        """Fetch what must be fetched, and report it. ``sample`` fetches without a report where this was not called."""

    def sample(
        self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterable[Prompt]:
        """``count`` prompts, drawn with ``rng`` alone; prompt and output together at most ``max_total_tokens``.

        Raises DatasetError where the data cannot be read or holds fewer fitting prompts.
        """
        raise NotImplementedError
