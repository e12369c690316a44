"""Datasets: sources of prompts. Each option is one file with a class whose ``sample`` returns prompts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from benchhydra.errors import ConfigError
from benchhydra.output_check import check_expectation
from benchhydra.progress import Progress
from benchhydra.registry import check_choices, knob

#: One message of a conversation: OpenAI's keys; the content is a text, a list of parts of text, or None.
Message = dict[str, Any]
#: The largest number of tokens that can be asked for: counts are stored as int32.
MAX_TOKENS = 2**31 - 1
#: What the texts of a record are: texts to embed or classify, or a query and the documents to rank for it.
BATCH, QUERY = "batch", "query"


class Media(NamedTuple):
    """An image or a recording of a prompt. kind: "image" or "audio"; mime: ``image/png``, ``audio/wav``, ..."""

    kind: str
    mime: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request's input: ``text`` for completions; also ``messages`` (role and content) if it is a conversation.

    prompt_tokens: of ``text`` with the model's tokenizer, including special tokens, as the server counts them.
    output_tokens: how many tokens to request. The text of a conversation is rendered in the model's chat template,
    except for a single message of the user, whose content it is. body: fields of this request's JSON body (``model`` of
    an adapter, ``priority``). labels: numbers of this request by name, for results by group. expect: what the answer
    must contain, a text or a ``/regex/`` (``output_check``); "": nothing is known.

    texts: several texts of one request: a batch to embed, of which ``text`` is the first, or the documents that are
    ranked for the query ``text``; prompt_tokens is of all of them together. text_tokens: of each text, the query's
    first, if the data brings all texts of a request (``Dataset.text_group``). media: images and recordings.
    """

    text: str
    prompt_tokens: int
    output_tokens: int
    messages: tuple[Message, ...] | None = None
    send_at_s: float | None = None  # recorded send time, for load=trace
    texts: tuple[str, ...] = ()
    text_tokens: tuple[int, ...] = ()
    media: tuple[Media, ...] = ()
    body: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    expect: str = ""


class Tokenizer(Protocol):
    """A tokenizer as datasets use it.

    ``encode``, ``encode_batch`` and ``count_batch`` add no special tokens; ``overhead`` is how many a server adds.
    """

    vocab_size: int
    overhead: int

    def encode(self, text: str) -> list[int]: ...
    def encode_batch(self, texts: list[str]) -> list[list[int]]: ...
    def decode(self, ids: list[int]) -> str: ...
    def decode_batch(self, batch: list[list[int]]) -> list[str]: ...
    def count_batch(self, texts: list[str]) -> list[int]:
        """Return the number of tokens of each text."""

    def token(self, token_id: int) -> str:
        """Return a token in the vocabulary's notation; "" if there is no token with this id."""

    def tokens_are_additive(self) -> bool:
        """Return whether a word has the same number of tokens in every text.

        That is so if no token spans the end of an ASCII word and the space after it.
        """

    def chat(self, messages: Sequence[Message], *, keep_bos: bool = False) -> str:
        """Return the conversation in the model's chat template, ending with the generation prompt.

        A BOS token that a server adds to every text is left out, unless ``keep_bos``.
        """


@dataclass(kw_only=True)
class Dataset:
    """Base of the ``dataset`` group."""

    #: The kind of media that the prompts carry: "image" or "audio".
    media: ClassVar[str | None] = None
    #: Whether prompts have a text for completions, and messages beside it that are not this text in a chat template.
    has_two_forms: ClassVar[bool] = False

    output_tokens: int | None = knob(None, "output length of every request; null: the data's own", unit="tokens")
    lengths: str = knob(
        "prompt",
        "what prompt lengths mean with api=chat: prompt: the text's own; templated: with the chat template's tokens",
        choices=("prompt", "templated"),
    )
    expect: str | None = knob(
        None,
        "what every answer must contain: a text, as whole words, or /REGEX/; null: nothing is checked, unless the data "
        "has an answer to each prompt",
    )
    adapters: dict[str, float] = knob(
        {}, "LoRA adapters that requests ask for, by weight: {sql: 3, law: 1, base: 1}; base is the model without any"
    )
    priorities: dict[int, float] = knob(
        {}, "priorities of requests by weight, lower ones first (vLLM's scheduling_policy=priority): {0: 1, 10: 4}"
    )
    prefix_cache_intended: bool = dataclasses.field(
        default=False, metadata={"doc": "prompts share prefixes on purpose"}
    )

    def __post_init__(self) -> None:
        check_choices(self)
        if self.output_tokens is not None and not 1 <= self.output_tokens <= MAX_TOKENS:
            raise ConfigError(f"dataset.output_tokens={self.output_tokens} must be from 1 to {MAX_TOKENS}")
        if self.expect is not None:
            check_expectation("dataset.expect", self.expect)

    def check(self, count: int) -> None:
        """Raise DatasetError for whatever is wrong with the data, as far as that needs neither network nor tokenizer.

        Called for every point before the first server starts. count: how many prompts the point needs.
        """

    def text_group(self) -> str | None:
        """Return what each prompt brings if that is all texts of a request: BATCH, or QUERY and documents; else None.

        Also None if the data must be downloaded first, and only the data would show it.
        """
        return None

    def recorded_count(self) -> int | None:
        """Return how many prompts a recording has; None if the data is none, or must be downloaded first."""
        return None

    def recorded_s(self, count: int) -> Sequence[float] | None:
        """Return the recorded send times of the first ``count`` prompts in seconds from the first; None without any.

        Raises DatasetError if they are missing for some, or decrease.
        """
        return None

    def warnings(self) -> tuple[str, ...]:
        """Return sentences for the result: which records were left out, and why."""
        return ()

    def has_equal_images(self) -> bool:
        """Return whether the prompts carry images that are all of one size."""
        return False

    def with_media(self, prompts: Iterable[Prompt], rng: np.random.Generator) -> Iterable[Prompt]:
        """Return the prompts with what they carry besides text. Called for measured and for warm-up prompts."""
        return prompts

    def prepare(self, progress: Progress) -> None:
        """Download files if needed, with progress. ``sample`` downloads them silently if this was not called."""

    def sample(
        self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterable[Prompt]:
        """Return ``count`` prompts; prompt and output sum to at most ``max_total_tokens`` tokens (None: no limit).

        ``rng`` is the only source of randomness, but for salts. Raises DatasetError if the data is unreadable, or too
        few prompts fit.
        """
        raise NotImplementedError
