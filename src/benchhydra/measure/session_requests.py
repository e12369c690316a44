"""The requests of sessions: each is encoded shortly before it is sent: its history holds the answers before it.

Histories are not stored for each turn: a session of n turns would take memory in proportion to n^2. A turn's own
messages are stored, and the messages of the sessions that are under way.
"""

from __future__ import annotations

import dataclasses
import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from benchhydra.client import Endpoint
from benchhydra.client.answer_text import split_answer
from benchhydra.client.apis import Api, RequestOptions
from benchhydra.client.request_encoding import encode_request
from benchhydra.datasets import Message, Prompt, Tokenizer
from benchhydra.datasets.conversations import NO_PREFIX, NO_TURN, ConversationDataset, Dialogue, Turn
from benchhydra.datasets.request_mix import Mix, mixed_sessions
from benchhydra.datasets.tokenization import WordTokenizer
from benchhydra.errors import ConfigError, DatasetError
from benchhydra.loadgen.pacing.sessions import Turns
from benchhydra.measure.replicas import REPLICA

#: An answer of one token, for the count of prompts whose answers are not known.
STAND_IN = "a"
#: Figures are given for so many turns at most.
MOST_GROUPS = 16
#: A length that is not known before the answers are.
UNKNOWN = -1
#: Columns of the rows of sessions. request, parent: index among the load's requests, parent -1 for a first turn.
#: turns: of the whole session; shared_tokens: at the start of the prompt, that an earlier prompt has too (-1: unknown
#: before the answer); added_tokens: that the turn adds to its history (-1: unknown).
LABELS = ("request", "parent", "session", "turn", "turns", "shared_tokens", "added_tokens")
Render = Callable[[Sequence[Message]], str]


class TurnLengths(NamedTuple):
    """Lengths of a turn in tokens, as the server counts them; -1 where they depend on answers."""

    prompt: int
    shared: int
    added: int


class CountedDialogue(NamedTuple):
    """A session and the lengths of its turns."""

    session: Dialogue
    lengths: Sequence[TurnLengths]


class SessionRequests:
    """A store of requests that are encoded when they are sent. See ``client.request_store.RequestStore``.

    render: puts a conversation into text, for an API that takes no messages. real_history: histories hold the server's
    answers, else the recorded ones.
    """

    slow_to_take: ClassVar[bool] = True

    def __init__(self, endpoint: Endpoint, options: RequestOptions, render: Render, *, real_history: bool) -> None:
        self.needs_texts = real_history
        self.prompt_tokens, self.output_tokens = array("i"), array("i")
        self.labels: dict[str, array[int]] = {name: array("i") for name in LABELS}
        self.expected: list[str] = []  # what each answer must contain; empty if nothing is expected of any
        self._endpoint, self._options, self._render = endpoint, options, render
        self._turns: list[Turn | None] = []
        self._bodies: list[Mapping[str, Any]] = []
        self._think_ns, self._parents = array("q"), array("q")
        self._following = array("i")  # by row: turns that still need its messages
        self._histories: dict[int, tuple[Message, ...]] = {}  # by row: a turn's messages, with its answer once it came

    def __len__(self) -> int:
        return len(self._turns)

    def add(self, counted: CountedDialogue, asked_tokens: Callable[[int], int], expect: str = "") -> list[Prompt]:
        """Append the turns of a session. Returns each turn's own messages as a prompt.

        asked_tokens: from a turn's output length to the number of tokens that its request asks for. expect: what
        answers must contain to turns that expect nothing themselves. All sessions have the same names of labels.
        """
        session, first, depths = counted.session, len(self), list[int]()
        number = self.labels["session"][-1] + 1 if first else 0
        for index, (turn, length) in enumerate(zip(session.turns, counted.lengths, strict=True)):
            parent = NO_TURN if turn.parent == NO_TURN else first + turn.parent
            depths.append(0 if turn.parent == NO_TURN else depths[turn.parent] + 1)
            self._turns.append(turn)
            self._bodies.append(session.body)
            self._parents.append(parent)
            self._following.append(0)
            if parent != NO_TURN:
                self._following[parent] += 1
            self.prompt_tokens.append(length.prompt)
            self.output_tokens.append(asked_tokens(turn.output_tokens))
            self._think_ns.append(round(turn.think_s * 1e9))
            values = (first + index, parent, number, depths[-1], len(session.turns), length.shared, length.added)
            for name, value in zip(LABELS, values, strict=True):
                self.labels[name].append(value)
        for name, value in session.labels.items():
            self.labels.setdefault(name, array("i")).extend([value] * len(session.turns))
        expected = [turn.expect or expect for turn in session.turns]
        if self.expected or any(expected):
            self.expected += [""] * (first - len(self.expected)) + expected
        return [
            Prompt("", UNKNOWN, turn.output_tokens, turn.messages, expect=text)
            for turn, text in zip(session.turns, expected, strict=True)
        ]

    def take(self, i: int) -> bytes:
        """Return the bytes of request i, with the history that it has now. Call it once per request."""
        turn, parent = self._turns[i], self._parents[i]
        assert turn is not None
        self._turns[i] = None
        messages = (*self._history(parent), *turn.messages) if parent != NO_TURN else turn.messages
        if self._following[i]:
            answer = () if self.needs_texts or turn.answer is None else (turn.answer,)
            self._histories[i] = (*messages, *answer)
        text = "" if self._endpoint.api.templated else self._render(messages)
        prompt = Prompt(text, UNKNOWN, turn.output_tokens, messages, body=self._bodies[i])
        endpoint = self._endpoint
        if REPLICA in self.labels:
            endpoint = endpoint.replica(self.labels[REPLICA][i])
        return encode_request(endpoint, prompt, turn.output_tokens, self._options)

    def answered(self, i: int, text: str) -> None:
        """Add an answer, without its reasoning, to the history of the turns that follow it."""
        if self._following[i]:
            self._histories[i] = (*self._histories[i], {"role": "assistant", "content": split_answer(text).answer})

    def failed(self, i: int) -> None:
        """Forget the history of the turns that would have followed: they are not sent."""
        self._histories.pop(i, None)

    def every_nth(self, first: int, step: int) -> SessionRequests:
        """Refuse: the turns of a session cannot be sent by several processes."""
        raise ConfigError("sessions are sent by one client process", hint="load.processes=1")

    def turns(self) -> Turns:
        """Return what the pacing needs to know of all turns."""
        session, parent = (np.array(self.labels[name], dtype=np.int32) for name in ("session", "parent"))
        return Turns(session, parent, np.array(self._think_ns, dtype=np.int64))

    def turn_groups(self) -> dict[str, Sequence[str]]:
        """Return the names of the groups of first, second, ... turns."""
        deepest = max(self.labels["turn"], default=-1)
        return {"turn": [f"turn {number}" for number in range(1, min(deepest + 1, MOST_GROUPS) + 1)]}

    def _history(self, parent: int) -> tuple[Message, ...]:
        self._following[parent] -= 1
        return self._histories[parent] if self._following[parent] else self._histories.pop(parent)


@dataclass(frozen=True, kw_only=True)
class SessionLengths:
    """Counts the tokens of turns as a server does. templated: by an API that takes messages.

    exact_answers: an answer's text has as many tokens as were asked for, so that histories can be counted beforehand.
    """

    tokenizer: Tokenizer
    templated: bool
    real_history: bool
    exact_answers: bool

    @classmethod
    def of(cls, tokenizer: Tokenizer, api: Api, dataset: ConversationDataset, *, ignore_eos: bool) -> SessionLengths:
        """Return the lengths for one load."""
        real = dataset.real_history
        exact = real and ignore_eos and isinstance(tokenizer, WordTokenizer)
        return cls(tokenizer=tokenizer, templated=api.templated, real_history=real, exact_answers=exact)

    def render(self, messages: Sequence[Message]) -> str:
        """Return a conversation as the server tokenizes it."""
        return self.tokenizer.chat(messages, keep_bos=self.templated)

    def sessions(
        self,
        dataset: ConversationDataset,
        count: int,
        rng: np.random.Generator,
        max_total_tokens: int | None,
        mixes: Sequence[Mix] = (),
    ) -> Iterator[CountedDialogue]:
        """Yield ``count`` sessions of a dataset, each dealt one choice of each of the mixes.

        Raises DatasetError if there are fewer whose first turn fits.
        """
        taken = 0
        sessions = mixed_sessions(dataset.sessions(count, self.tokenizer, rng, max_total_tokens), mixes, rng)
        for session in itertools.islice(self._fitting(sessions, max_total_tokens), count):
            taken += 1
            yield session
        if taken < count:
            text = f"only {taken} sessions fit into max_model_len={max_total_tokens}, but {count} are needed"
            raise DatasetError(text, hint=f"num_prompts={taken}" if taken else "shorter messages, or another model")

    def _fitting(self, sessions: Iterable[Dialogue], max_total_tokens: int | None) -> Iterator[CountedDialogue]:
        """Yield sessions without the turns that are too long, and those after them."""
        prefixes: set[int] = set()
        for session in sessions:
            lengths = self._lengths(session, known_prefix=session.prefix in prefixes)
            count = self._within(session, lengths, max_total_tokens)
            if count:
                prefixes |= {session.prefix} - {NO_PREFIX}
                trimmed = dataclasses.replace(session, turns=session.turns[:count])
                yield CountedDialogue(trimmed, lengths[:count])

    def _within(self, session: Dialogue, lengths: Sequence[TurnLengths], limit: int | None) -> int:
        """Return how many turns are not too long, nor come after one that is; lengths unknown so far are estimated."""
        if limit is None:
            return len(lengths)
        totals = list[int]()
        for turn, length in zip(session.turns, lengths, strict=True):
            before = 0 if turn.parent == NO_TURN else totals[turn.parent]
            prompt = length.prompt if length.prompt != UNKNOWN else before + max(length.added, 0)
            totals.append(prompt + turn.output_tokens)
            if totals[-1] > limit:
                return len(totals) - 1
        return len(totals)

    def _lengths(self, session: Dialogue, *, known_prefix: bool) -> list[TurnLengths]:
        return self._summed(session, known_prefix) if self.exact_answers else self._counted(session, known_prefix)

    def _summed(self, session: Dialogue, known_prefix: bool) -> list[TurnLengths]:
        """Return lengths where the tokens of a prompt are those of its messages."""
        lengths = list[TurnLengths]()
        own = self.tokenizer.count_batch([self.render(turn.messages) for turn in session.turns])
        for turn, added in zip(session.turns, own, strict=True):
            if turn.parent == NO_TURN:
                lengths.append(TurnLengths(added, self._prefix_tokens(turn) if known_prefix else 0, added))
            else:
                before = lengths[turn.parent].prompt + session.turns[turn.parent].output_tokens
                lengths.append(TurnLengths(before + added, UNKNOWN, added))
        return lengths

    def _counted(self, session: Dialogue, known_prefix: bool) -> list[TurnLengths]:
        """Return lengths of prompts in the chat template, with a stand-in for each answer that is not known."""
        lengths, encoded = list[TurnLengths](), self._encoded(session)
        latest = dict[int, list[int]]()  # by parent: the prompt of the last turn that followed it
        for turn, tokens in zip(session.turns, encoded, strict=True):
            if turn.parent == NO_TURN:
                shared = self._prefix_tokens(turn) if known_prefix else 0
                lengths.append(TurnLengths(len(tokens), shared, len(tokens)))
                continue
            before = encoded[turn.parent]
            if self.real_history:
                (stand_in,) = self.tokenizer.count_batch([STAND_IN])
                lengths.append(TurnLengths(UNKNOWN, UNKNOWN, len(tokens) - len(before) - stand_in))
            else:
                shared = common_tokens(latest.get(turn.parent, before), tokens)
                lengths.append(TurnLengths(len(tokens), shared, len(tokens) - len(before)))
            latest[turn.parent] = tokens
        return lengths

    def _encoded(self, session: Dialogue) -> list[list[int]]:
        """Return the tokens of each turn's prompt."""
        conversations = list[tuple[Message, ...]]()
        for turn in session.turns:
            before: tuple[Message, ...] = ()
            if turn.parent != NO_TURN:
                answer = None if self.real_history else session.turns[turn.parent].answer
                before = (*conversations[turn.parent], answer or {"role": "assistant", "content": STAND_IN})
            conversations.append((*before, *turn.messages))
        overhead = [0] * (0 if self.templated else self.tokenizer.overhead)
        texts = [self.render(messages) for messages in conversations]
        return [overhead + tokens for tokens in self.tokenizer.encode_batch(texts)]

    def _prefix_tokens(self, turn: Turn) -> int:
        """Return how many tokens two first turns with the same system prompt share."""
        system = turn.messages[:-1]
        texts = [self.render([*system, {"role": "user", "content": text}]) for text in ("a", "b")]
        first, second = self.tokenizer.encode_batch(texts)
        return common_tokens(first, second) + (0 if self.templated else self.tokenizer.overhead)


def common_tokens(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the length of the common beginning of two lists of tokens."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
