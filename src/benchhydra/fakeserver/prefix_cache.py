"""The fake engine's prefix cache: blocks of prompts and answers, of which the least recently used are forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

BLOCK_TOKENS = 16
MAX_BLOCKS = 200_000


class Prefix(NamedTuple):
    """A prompt in the cache. hits: tokens that were there; key: of its last whole block; rest: the words after that."""

    hits: int
    key: int
    rest: Sequence[Any]


class PrefixCache:
    """Remembers blocks, and counts queries and hits in tokens, as vLLM's does.

    A block is found only after all blocks before it. The blocks of a sequence are used from its end to its beginning,
    so that its beginning is forgotten last.
    """

    def __init__(self, max_blocks: int = MAX_BLOCKS, block_tokens: int = BLOCK_TOKENS) -> None:
        self._blocks: dict[int, None] = {}  # the least recently used first
        self._max_blocks, self._block_tokens = max_blocks, block_tokens
        self.queries = self.hits = 0

    def look_up(self, words: Sequence[Any], salt: str = "") -> Prefix:
        """Count a prompt's hits, and store its whole blocks. salt: prompts with another one share nothing.

        The last token is always computed, so it is never a hit.
        """
        size, start = self._block_tokens, hash(salt)
        keys = list(self._keys(start, words))
        reusable = (len(words) - 1) // size
        hit_blocks = next(
            (i for i, key in enumerate(keys[:reusable]) if key not in self._blocks), min(len(keys), reusable)
        )
        self.queries += len(words)
        self.hits += hit_blocks * size
        self._use(reversed(keys))
        return Prefix(hit_blocks * size, keys[-1] if keys else start, words[len(keys) * size :])

    def store_answer(self, prefix: Prefix, words: Sequence[Any]) -> None:
        """Store the blocks of an answer. Its last token was never computed, only generated."""
        self._use(reversed(list(self._keys(prefix.key, [*prefix.rest, *words[:-1]]))))

    def clear(self) -> None:
        """Forget all blocks; the counters keep their values."""
        self._blocks.clear()

    def _keys(self, key: int, words: Sequence[Any]) -> Iterator[int]:
        """Yield the key of each whole block, which stands for all words up to its end."""
        size = self._block_tokens
        for i in range(len(words) // size):
            key = hash((key, *words[i * size : (i + 1) * size]))
            yield key

    def _use(self, keys: Iterable[int]) -> None:
        """Make blocks the most recently used, the last one most of all; forget those for which there is no room."""
        blocks = self._blocks
        for key in keys:
            blocks.pop(key, None)
            blocks[key] = None
        while len(blocks) > self._max_blocks:
            del blocks[next(iter(blocks))]
