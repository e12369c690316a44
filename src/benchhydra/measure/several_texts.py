"""Requests of several texts: a batch, or a query and its documents, joined from the dataset's prompts or its own."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

from benchhydra.client.apis import Api
from benchhydra.datasets import BATCH, QUERY, Dataset, Prompt
from benchhydra.errors import ConfigError
from benchhydra.registry import option_name

#: What records bring -> in words, and an API for it.
GROUPS = {BATCH: ("texts", "api=embeddings"), QUERY: ("a query and documents", "api=rerank")}


def prompts_per_request(dataset: Dataset, api: Api) -> int:
    """Return how many prompts of the dataset a request takes. Raises ConfigError if the API cannot send its records."""
    group = dataset.text_group()
    if group is None:
        return api.texts_per_request()
    words, example = GROUPS[group]
    if api.asked_items(2) is None or api.has_query != (group == QUERY):
        raise ConfigError(f"api={option_name(api)} cannot send records with {words}", hint=example)
    return 1


def joined_prompts(prompts: Iterable[Prompt], api: Api, size: int) -> Iterator[Prompt]:
    """Yield a prompt for each request. size: as ``prompts_per_request`` says."""
    source = iter(prompts)
    if api.asked_items(api.texts_per_request()) is None:
        yield from source
        return
    while group := list(itertools.islice(source, size)):
        yield _joined(group, api) if size > 1 else _whole(group[0], api)


def text_lengths(prompt: Prompt) -> Sequence[int]:
    """Return the tokens of each text of a prompt."""
    return prompt.text_tokens or (prompt.prompt_tokens,)


def _joined(group: Sequence[Prompt], api: Api) -> Prompt:
    first = group[0]
    return Prompt(
        first.text,
        api.asked_prompt_tokens([prompt.prompt_tokens for prompt in group]),
        first.output_tokens,
        send_at_s=first.send_at_s,
        texts=tuple(prompt.text for prompt in group[api.has_query :]),
        body=first.body,
        labels={**first.labels, "items": api.asked_items(len(group)) or 0},
    )


def _whole(prompt: Prompt, api: Api) -> Prompt:
    """Return a prompt that is a request by itself, with one text or with all of its own."""
    lengths = text_lengths(prompt)
    return dataclasses.replace(
        prompt,
        prompt_tokens=api.asked_prompt_tokens(lengths),
        labels={**prompt.labels, "items": api.asked_items(len(lengths)) or 0},
    )
