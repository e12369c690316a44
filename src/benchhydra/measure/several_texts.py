"""Prompts of several texts: joins the dataset's prompts into requests of a batch, or of a query and its documents."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from benchhydra.client.apis import Api
from benchhydra.datasets import Prompt


def joined_prompts(prompts: Iterable[Prompt], api: Api) -> Iterator[Prompt]:
    """Yield a prompt for each request, made of as many prompts of the dataset as the API puts into one."""
    size, source = api.texts_per_request(), iter(prompts)
    if api.asked_items(size) is None:
        yield from source
        return
    while group := list(itertools.islice(source, size)):
        yield _joined(group, api)


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
