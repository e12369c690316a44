"""Conversations as data: the turns of a session, and how data files and datasets give them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchhydra.datasets import Dataset, Message, Tokenizer
from benchhydra.datasets.chat_template import message_text
from benchhydra.errors import ConfigError

#: The parent of a session's first turn.
NO_TURN = -1
#: The prefix of a session that shares none.
NO_PREFIX = -1


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a session.

    messages: those that are new since the answer before: the user's, and the system's before the first. parent: index
    in the session of the turn whose answer it follows, ``NO_TURN`` for the first. think_s: from that answer's end to
    the sending. answer: the recorded one; None if there is none. expect: what the answer must contain, as
    ``Prompt.expect``.
    """

    messages: tuple[Message, ...]
    output_tokens: int
    parent: int = NO_TURN
    think_s: float = 0.0
    answer: Message | None = None
    expect: str = ""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The turns of one conversation, each after the one that it follows.

    prefix: number of its system prompt among those that sessions share; ``NO_PREFIX``: it shares none. body: fields of
    the JSON body of each of its requests. labels: numbers by name that all its requests have, for results by group.
    """

    turns: tuple[Turn, ...]
    prefix: int = NO_PREFIX
    body: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclass(kw_only=True)
class ConversationDataset(Dataset):
    """Base of datasets of conversations, which ``load=sessions`` sends turn by turn."""

    prefix_cache_intended: bool = dataclasses.field(default=True, metadata={"doc": "turns share their history"})

    @property
    def real_history(self) -> bool:
        """Whether histories hold the server's own answers instead of recorded ones."""
        raise NotImplementedError

    def check(self, count: int) -> None:
        """Refuse loads of independent requests."""
        raise self._needs_sessions()

    def check_sessions(self, count: int) -> None:
        """Raise DatasetError for whatever is wrong with the data of ``count`` sessions; see ``Dataset.check``."""

    def sessions(
        self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterator[Dialogue]:
        """Return ``count`` sessions; ``rng`` is the only source of randomness. Raises DatasetError.

        tokenizer: counts the text of messages. max_total_tokens: upper limit of a turn's prompt and output.
        """
        raise NotImplementedError

    def mean_think_s(self) -> float:
        """Return about how long the user of a session thinks in all, in seconds."""
        return 0.0

    def sample(self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None) -> Any:
        """Refuse: the turns of a session are not independent prompts."""
        raise self._needs_sessions()

    def _needs_sessions(self) -> ConfigError:
        return ConfigError(
            "the turns of conversations are no independent prompts: each needs the answer before it",
            hint="script=serving load=sessions qps=1 (sessions/s)",
        )


def conversations_of(dataset: Dataset) -> ConversationDataset:
    """Return a dataset that is one of conversations. Raises ConfigError for another one."""
    if isinstance(dataset, ConversationDataset):
        return dataset
    raise ConfigError(
        "load=sessions needs a dataset of conversations",
        hint="dataset=sessions (dataset.path=FILE for recorded ones), or load=poisson for independent prompts",
    )


def turns_of(messages: Sequence[Message], think_s: float) -> list[Turn]:
    """Return the turns of a recorded conversation: each ends with an answer of the assistant. Output lengths are 0.

    A last turn without an answer is one too. Messages of tools and of the user belong to the turn whose answer follows.
    """
    turns: list[Turn] = []
    own: list[Message] = []
    for message in messages:
        if message["role"] == "assistant" and own:
            turns.append(Turn(tuple(own), 0, len(turns) - 1, think_s if turns else 0.0, message))
            own = []
        else:
            own.append(message)
    if any(message["role"] != "system" for message in own):
        turns.append(Turn(tuple(own), 0, len(turns) - 1, think_s if turns else 0.0))
    return turns


def own_text(messages: Sequence[Message]) -> str:
    """Return the texts of messages, joined by line ends."""
    return "\n".join(message_text(message) for message in messages)
