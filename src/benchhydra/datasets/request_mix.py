"""What a load mixes over its requests, whatever its prompts are: adapters (LoRA) and priorities, by weight.

Each request, or each session for all its turns, is dealt one at random. It gets the field of its body (``model``,
``priority``) and a label, by which results are given per adapter and per priority.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchhydra.datasets import Prompt
from benchhydra.datasets.conversations import NO_PREFIX, Dialogue
from benchhydra.errors import ConfigError
from benchhydra.records import ADAPTER

PRIORITY = "priority"
#: The name among adapters of the model without any.
BASE_MODEL = "base"
#: Numbers are drawn for so many requests at a time.
BATCH = 4096


@dataclass(frozen=True)
class Mix:
    """Choices of one field by weight. label: of the rows; names: of the choices; fields: of the body, for each."""

    label: str
    names: tuple[str, ...]
    weights: tuple[float, ...]
    fields: tuple[Mapping[str, Any], ...]

    def draw(self, rng: np.random.Generator) -> Iterator[int]:
        """Yield the index of each request's choice, without end."""
        chances = np.array(self.weights) / sum(self.weights)
        while True:
            yield from rng.choice(len(self.names), size=BATCH, p=chances).tolist()


def mix_of(adapters: Mapping[str, float], priorities: Mapping[int, float]) -> tuple[Mix, ...]:
    """Return the mixes of a dataset. Raises ConfigError for a weight that is none."""
    mixes = []
    if adapters:
        fields = tuple({} if name == BASE_MODEL else {"model": name} for name in adapters)
        mixes.append(Mix(ADAPTER, tuple(adapters), _weights("adapters", adapters), fields))
    if priorities:
        order = sorted(priorities)
        weights = _weights("priorities", {value: priorities[value] for value in order})
        mixes.append(Mix(PRIORITY, tuple(map(str, order)), weights, tuple({"priority": value} for value in order)))
    return tuple(mixes)


def adapter_models(adapters: Mapping[str, float], base_model: str) -> tuple[str, ...]:
    """Return the model's name that answers must have, by the label ``adapter``; () if any name will do.

    base_model: the name that those without an adapter must have; "": any.
    """
    return tuple(base_model if name == BASE_MODEL else name for name in adapters) if base_model else ()


def mixed(prompts: Iterable[Prompt], mixes: Sequence[Mix], rng: np.random.Generator) -> Iterable[Prompt]:
    """Return the prompts with the fields and labels of what each is dealt."""
    return _dealt(prompts, mixes, rng) if mixes else prompts


def mixed_sessions(sessions: Iterable[Dialogue], mixes: Sequence[Mix], rng: np.random.Generator) -> Iterable[Dialogue]:
    """Return the sessions with the fields and labels of what each is dealt."""
    return _dealt_sessions(sessions, mixes, rng) if mixes else sessions


def _dealt(prompts: Iterable[Prompt], mixes: Sequence[Mix], rng: np.random.Generator) -> Iterator[Prompt]:
    for prompt, (fields, labels) in zip(prompts, _deal(mixes, rng), strict=False):
        yield dataclasses.replace(prompt, body={**prompt.body, **fields}, labels={**prompt.labels, **labels})


def _dealt_sessions(sessions: Iterable[Dialogue], mixes: Sequence[Mix], rng: np.random.Generator) -> Iterator[Dialogue]:
    """An adapter's prefix cache is its own: sessions of two adapters do not share a system prompt."""
    adapters = next((len(mix.names) for mix in mixes if mix.label == ADAPTER), 1)
    for session, (fields, labels) in zip(sessions, _deal(mixes, rng), strict=False):
        shares = session.prefix != NO_PREFIX
        prefix = session.prefix * adapters + labels.get(ADAPTER, 0) if shares else NO_PREFIX
        body, all_labels = {**session.body, **fields}, {**session.labels, **labels}
        yield dataclasses.replace(session, prefix=prefix, body=body, labels=all_labels)


def _deal(mixes: Sequence[Mix], rng: np.random.Generator) -> Iterator[tuple[dict[str, Any], dict[str, int]]]:
    """Yield fields of a body and labels, without end."""
    draws = [mix.draw(stream) for mix, stream in zip(mixes, rng.spawn(len(mixes)), strict=True)]
    for choices in zip(*draws, strict=True):
        fields = dict[str, Any]()
        for mix, choice in zip(mixes, choices, strict=True):
            fields |= mix.fields[choice]
        yield fields, {mix.label: choice for mix, choice in zip(mixes, choices, strict=True)}


def _weights(key: str, weights: Mapping[Any, float]) -> tuple[float, ...]:
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise ConfigError(f"dataset.{key}: the weight {weight:g} of {name} must be at least 0 and finite")
    if not sum(weights.values()):
        raise ConfigError(f"dataset.{key}: all weights are 0", hint=f"dataset.{key}={{NAME: 1}}")
    return tuple(weights.values())
