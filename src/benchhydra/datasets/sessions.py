"""``dataset=sessions``: conversations for ``load=sessions``, made of random words or recorded in a file."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import field

import numpy as np
import numpy.typing as npt

from benchhydra.datasets import Message, Tokenizer
from benchhydra.datasets.conversations import NO_TURN, ConversationDataset, Dialogue, Turn, own_text, turns_of
from benchhydra.datasets.data_file import DataRecord
from benchhydra.datasets.file_dataset import FileDataset, UsableRecords, read_usable
from benchhydra.datasets.files import local
from benchhydra.datasets.length_distributions import DEFAULT_SPREAD, Floats, draw_values
from benchhydra.datasets.prefix_groups import new_salt
from benchhydra.datasets.record_fields import InvalidRecord, RecordFields, checked_text
from benchhydra.datasets.synthetic import Writer
from benchhydra.errors import ConfigError, DatasetError
from benchhydra.output_check import check_expectation
from benchhydra.progress import Progress
from benchhydra.registry import knob, option

LENGTH_SHAPES = ("fixed", "uniform", "exponential", "normal", "lognormal")
TURN_SHAPES = ("fixed", "uniform", "geometric")
THINK_SHAPES = ("fixed", "exponential", "lognormal")
SALTS = ("none", "load", "session")
#: With allow_repeat, so many conversations of a file are offered for each that is needed: some may be too long.
REPEATS = 20
#: Sessions whose texts are made together.
BATCH_SESSIONS = 32
#: Standard deviation of a think time / its mean, where the shape has one.
THINK_SPREAD = 1.0


@option("dataset", "sessions")
class Sessions(FileDataset, ConversationDataset):
    """Conversations: made ones of exact lengths, or those of a file (ShareGPT's, UltraChat's, any chat).

    Lengths are means of their distributions. A file's conversations are shuffled; records without one are left out, and
    counted. With dataset.output_tokens=null, recorded answers set the output lengths. "expect" in a record is for the
    output check: a text for each of its answers, or a list with one for each question of the user (null: none).
    """

    prefix_cache_intended: bool = field(default=True, metadata={"doc": "turns share their history"})
    path: str = knob("", "file or https URL of conversations; empty: made ones")
    output_tokens: int | None = knob(
        64, "output length of a turn, or its mean; null: that of a file's answers", unit="tokens"
    )
    history: str = knob(
        "real",
        "answers in the history of later turns: real: those that the server gave; recorded: the file's, or made ones",
        choices=("real", "recorded"),
    )
    turns: int = knob(4, "turns of a made session, or their mean", unit="turns")
    turns_shape: str = knob("fixed", "distribution of the number of turns", choices=TURN_SHAPES)
    max_turns: int | None = knob(None, "turns of a file's conversation that are sent; null: all", unit="turns")
    prompt_tokens: int = knob(64, "length of a made user message, or its mean", unit="tokens")
    prompt_shape: str = knob("fixed", "distribution of the lengths of made messages", choices=LENGTH_SHAPES)
    first_prompt_tokens: int | None = knob(
        None, "length of the first made message, or its mean; null: prompt_tokens", unit="tokens"
    )
    output_shape: str = knob("fixed", "distribution of output lengths of made sessions", choices=LENGTH_SHAPES)
    system_tokens: int = knob(0, "length of the system prompt that made sessions share; 0: none", unit="tokens")
    system_prompts: int = knob(1, "number of different system prompts", unit="prompts")
    system_zipf: float = knob(
        0.0, "exponent of their popularity: the k-th is used in proportion to 1 / k^exponent; 0: all alike"
    )
    branches: int = knob(1, "continuations at once, which share the turns before", unit="branches")
    branch_turn: int = knob(1, "number of turns before a session branches", unit="turns")
    think_s: float = knob(1.0, "mean time from an answer's end to the next turn", unit="s")
    think_shape: str = knob("exponential", "distribution of think times", choices=THINK_SHAPES)
    cache_salt: str = knob(
        "none",
        "cache_salt of requests, for servers that know it (vLLM): load: one for each load, so that nothing is found in "
        "the prefix cache that was there before; session: one for each session, so that sessions share nothing",
        choices=SALTS,
    )

    field_names = ("messages", "expect")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("turns", "prompt_tokens", "first_prompt_tokens", "max_turns", "system_prompts", "branches"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"dataset.{name}={value} must be at least 1")
        for name in ("system_tokens", "system_zipf", "think_s", "branch_turn"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ConfigError(f"dataset.{name}={value:g} must be at least 0 and finite")
        if self.branches > 1 and not 1 <= self.branch_turn < self.turns:
            raise ConfigError(
                f"dataset.branch_turn={self.branch_turn} must be from 1 to dataset.turns - 1 = {self.turns - 1}"
            )
        if not self.path and self.output_tokens is None:
            raise ConfigError("dataset.output_tokens=null: made sessions have no lengths of their own", hint="a number")

    @property
    def real_history(self) -> bool:
        return self.history == "real"

    def prepare(self, progress: Progress) -> None:
        if self.path:
            super().prepare(progress)

    def check_sessions(self, count: int) -> None:
        if self.path and self.local_files() is not None:
            self.require(len(self._usable().items), count)

    def mean_think_s(self) -> float:
        return 0.0 if self.path else (self.turns - 1) * self.think_s

    def warnings(self) -> tuple[str, ...]:
        sentence = self._usable().sentence(self.path) if self.path else ""
        return (sentence,) if sentence else ()

    def sessions(
        self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterator[Dialogue]:
        """Return made sessions, ``count`` of them; or more of the file's, shuffled, so that some may be left out."""
        load_salt = new_salt()
        made = self._recorded(count, tokenizer, rng) if self.path else self._made(count, tokenizer, rng)
        for number, session in enumerate(made):
            salt = {"none": "", "load": load_salt, "session": f"{load_salt}-{number}"}[self.cache_salt]
            yield dataclasses.replace(session, body={"cache_salt": salt}) if salt else session

    def _recorded(self, count: int, tokenizer: Tokenizer, rng: np.random.Generator) -> Iterator[Dialogue]:
        conversations = self._usable().items
        order = rng.permutation(len(conversations)).tolist()
        most = len(order) + REPEATS * count if self.allow_repeat else len(order)
        for index in itertools.islice(itertools.cycle(order), most):
            turns = conversations[index][: self.max_turns]
            thinks_s = self.draw_think_s(len(turns), rng).tolist()
            outputs = self._output_lengths(turns, tokenizer)
            yield Dialogue(
                tuple(
                    dataclasses.replace(turn, output_tokens=output, think_s=think_s if turn.parent != NO_TURN else 0.0)
                    for turn, output, think_s in zip(turns, outputs, thinks_s, strict=True)
                )
            )

    def _output_lengths(self, turns: Sequence[Turn], tokenizer: Tokenizer) -> list[int]:
        if self.output_tokens is not None:
            return [self.output_tokens] * len(turns)
        answers = [own_text([turn.answer]) if turn.answer is not None else "" for turn in turns]
        return [max(1, count) for count in tokenizer.count_batch(answers)]

    def _usable(self) -> UsableRecords[list[Turn]]:
        return read_usable(self, [local(self.path, Progress())], self._conversation)

    def _conversation(self, record: DataRecord) -> list[Turn]:
        name = self.field_names[0]
        fields = self.fields_of(record)
        messages = fields.messages(name, "conversations", "conversation")
        if messages is None:
            raise InvalidRecord(name, "there is no conversation")
        turns = _with_expectations(turns_of(messages, 0.0), fields)
        if turns and turns[-1].answer is None and (self.output_tokens is None or not self.real_history):
            turns = turns[:-1]  # nobody knows how long its answer would be
        if not turns:
            raise InvalidRecord(name, "there is no question with an answer")
        return turns

    def _made(self, count: int, tokenizer: Tokenizer, rng: np.random.Generator) -> Iterator[Dialogue]:
        maker = SessionMaker(self, tokenizer, rng)
        for start in range(0, count, BATCH_SESSIONS):
            yield from maker.sessions(min(BATCH_SESSIONS, count - start))

    def draw_turns(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return numbers of turns, shape (count,); at least 1."""
        if self.turns_shape == "uniform":
            return rng.integers(1, 2 * self.turns - 1, count, endpoint=True)
        if self.turns_shape == "geometric":
            return rng.geometric(1 / self.turns, count)
        return np.full(count, self.turns, dtype=np.int64)

    def draw_think_s(self, count: int, rng: np.random.Generator) -> Floats:
        """Return think times in seconds, shape (count,)."""
        return draw_values(self.think_shape, self.think_s, count, rng, std=THINK_SPREAD * self.think_s)


def _with_expectations(turns: list[Turn], fields: RecordFields) -> list[Turn]:
    """Return the turns with what the record expects of their answers. Raises InvalidRecord."""
    name, value = fields.find("expect")
    if value is None:
        return turns
    expected = value if isinstance(value, list) else [value] * len(turns)
    if len(expected) != len(turns):
        raise InvalidRecord(name, f"{len(expected)} texts, but {len(turns)} questions")
    return [
        dataclasses.replace(turn, expect="" if text is None else _checked_expectation(name, text))
        for turn, text in zip(turns, expected, strict=True)
    ]


def _checked_expectation(name: str, value: object) -> str:
    text = checked_text(name, value)
    try:
        check_expectation(name, text)
    except ConfigError as error:
        raise InvalidRecord(name, error.message.removeprefix(f"{name}: ")) from error
    return text


class SessionMaker:
    """Makes sessions of random words, whose messages have exact lengths."""

    def __init__(self, settings: Sessions, tokenizer: Tokenizer, rng: np.random.Generator) -> None:
        self._settings, self._rng, self._overhead = settings, rng, tokenizer.overhead
        self._writer = Writer(tokenizer, rng)
        self._systems: list[str] = []
        if settings.system_tokens:
            self._systems = self._texts([settings.system_tokens] * settings.system_prompts)
        weights = np.arange(1.0, settings.system_prompts + 1) ** -settings.system_zipf
        self._weights = weights / weights.sum()

    def sessions(self, count: int) -> Iterator[Dialogue]:
        """Yield ``count`` sessions."""
        shapes = [self._parents(turns) for turns in self._settings.draw_turns(count, self._rng).tolist()]
        total = sum(map(len, shapes))
        prompts, outputs, thinks_s = self._draw(shapes, total)
        texts = iter(self._texts(prompts))
        recorded = not self._settings.real_history
        answers = iter(self._texts(outputs) if recorded else [""] * total)
        values = zip(outputs, thinks_s, strict=True)
        for parents in shapes:
            system = int(self._rng.choice(len(self._weights), p=self._weights)) if self._systems else -1
            turns = []
            for parent in parents:
                output_tokens, think_s = next(values)
                messages, answer = self._messages(next(texts), parent, system), next(answers)
                message = {"role": "assistant", "content": answer} if recorded else None
                turns.append(Turn(messages, output_tokens, parent, think_s if parent != NO_TURN else 0.0, message))
            yield Dialogue(tuple(turns), system)

    def _parents(self, turns: int) -> list[int]:
        """Return the turn before each turn of a session: a chain that becomes several after ``branch_turn``."""
        settings = self._settings
        trunk = min(turns, settings.branch_turn) if settings.branches > 1 else turns
        parents = [NO_TURN, *range(trunk - 1)]
        for _ in range(settings.branches if turns > trunk else 0):
            parents += [trunk - 1, *range(len(parents), len(parents) + turns - trunk - 1)]
        return parents

    def _messages(self, text: str, parent: int, system: int) -> tuple[Message, ...]:
        user = {"role": "user", "content": text}
        if parent != NO_TURN or system < 0:
            return (user,)
        return {"role": "system", "content": self._systems[system]}, user

    def _draw(self, shapes: list[list[int]], total: int) -> tuple[list[int], list[int], list[float]]:
        """Return lengths of messages and of answers, and think times, for all turns of several sessions."""
        settings, rng = self._settings, self._rng
        means = np.full(total, float(settings.prompt_tokens))
        first = np.concatenate([np.array(parents) == NO_TURN for parents in shapes])
        means[first] = settings.first_prompt_tokens or settings.prompt_tokens
        assert settings.output_tokens is not None
        prompts = means * draw_values(settings.prompt_shape, 1.0, total, rng, std=DEFAULT_SPREAD)
        std = DEFAULT_SPREAD * settings.output_tokens
        outputs = draw_values(settings.output_shape, settings.output_tokens, total, rng, std=std)
        lengths = (np.maximum(1, np.rint(values)).astype(np.int64).tolist() for values in (prompts, outputs))
        return (*lengths, settings.draw_think_s(total, rng).tolist())

    def _texts(self, lengths: list[int]) -> list[str]:
        try:
            return self._writer.texts([length + self._overhead for length in lengths], [])
        except DatasetError as error:
            raise DatasetError(f"dataset=sessions: {error.message}", hint="dataset.path=FILE") from error
