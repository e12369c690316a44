"""Groups of prompts that begin alike, so that a prefix cache finds a given fraction of all prompt tokens."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
#: What requests have as their ``cache_salt``: none, one of the whole load, one of their own.
SALTS = ("none", "load", "request")


def salt_fields(kind: str, count: int) -> Iterator[dict[str, str]]:
    """Yield the fields of each request's body that keep it apart in the server's prefix cache: see ``SALTS``."""
    if kind == "none":
        yield from ({} for _ in range(count))
        return
    salt = new_salt()
    yield from ({"cache_salt": salt if kind == "load" else f"{salt}-{number}"} for number in range(count))


def new_salt() -> str:
    """Return a salt that no load has had before, whatever the seed: loads of one seed have the same prompts."""
    return secrets.token_hex(8)


def draw_groups(groups: int, zipf: float, count: int, rng: np.random.Generator) -> Ints:
    """Return the group of each prompt, shape (count,): the k-th most frequent in proportion to 1 / k^zipf."""
    weights = np.arange(1.0, groups + 1) ** -zipf
    return rng.choice(groups, count, p=weights / weights.sum())


def prefix_lengths(
    groups: Sequence[int], prompt_tokens: Sequence[int], hit_fraction: float, block_tokens: int
) -> list[int]:
    """Return how many tokens at its start each prompt takes from its group's prefix.

    An unbounded cache of whole blocks, which sees the prompts in this order, then finds ``hit_fraction`` of all prompt
    tokens as nearly as possible at any time: each prompt takes as many blocks as bring what was found so far closest to
    what should have been. A group's prefix is found only as far as an earlier prompt has had it, and a prompt's last
    token never.
    """
    cached: dict[int, int] = {}  # by group: tokens of its prefix that a prompt has had
    hits = total = 0
    lengths = []
    for group, tokens in zip(groups, prompt_tokens, strict=True):
        total += tokens
        most = (tokens - 1) // block_tokens * block_tokens
        missing = hit_fraction * total - hits
        wanted = min(most, max(0, round(missing / block_tokens)) * block_tokens)
        reachable = min(cached.get(group, 0), most)
        length = wanted if wanted <= reachable else most  # a longer prefix is found the next time
        hits += min(length, reachable)
        cached[group] = max(cached.get(group, 0), length)
        lengths.append(length)
    return lengths
