"""What will happen to a request, decided when it comes: fault, tokens, times, and what the cache holds of it."""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator
from typing import Any

#: Each has a flag with its fraction of the requests (``--reset-fraction 0.05``); /stats counts them by name.
FAULTS = ("reset", "timeout", "http_4xx", "http_5xx", "malformed", "error_event", "early_end", "short")
BLOCK_TOKENS = 16
MAX_BLOCKS = 200_000


class PrefixCache:
    """Which blocks of prompts were seen: counts queries and hits in tokens, as vLLM does."""

    def __init__(self) -> None:
        self._blocks: set[int] = set()
        self.queries = self.hits = 0

    def look_up(self, words: list[Any]) -> None:
        """Count a prompt's hits, and remember its blocks. The last token is always computed."""
        self.queries += len(words)
        if len(self._blocks) > MAX_BLOCKS:
            self.clear()
        key, hitting, reusable = 0, True, (len(words) - 1) // BLOCK_TOKENS
        for i in range(len(words) // BLOCK_TOKENS):
            key = hash((key, *words[i * BLOCK_TOKENS : (i + 1) * BLOCK_TOKENS]))
            hitting = hitting and key in self._blocks and i < reusable
            self.hits += BLOCK_TOKENS * hitting
            self._blocks.add(key)

    def clear(self) -> None:
        """Forget all blocks; counters go on."""
        self._blocks.clear()


class AnswerPlan:
    """What will happen to one request: its fault, how many tokens, and when each chunk is due (ns after the start)."""

    def __init__(self, args: argparse.Namespace, index: int, asked_tokens: int) -> None:
        rng = random.Random((args.fake_seed << 40) + index)
        self.fault = _draw_fault(args, rng, asked_tokens)
        self.tokens = max(1, asked_tokens // 2) if self.fault == "short" else asked_tokens
        self.chunks = -(-self.tokens // args.tokens_per_chunk)
        self.finish = "stop" if self.fault == "short" else "length"
        self.fault_chunk = rng.randrange(self.chunks)
        self._rng, self._args = rng, args

    def due_ns(self) -> Iterator[int]:
        """When each chunk is due."""
        at_ms = _spread(self._rng, self._args.ttft_ms, self._args.ttft_sigma)
        for _ in range(self.chunks):
            yield int(at_ms * 1e6)
            at_ms += _spread(self._rng, self._args.itl_ms, self._args.itl_sigma)

    def sizes(self) -> Iterator[int]:
        """Tokens of each chunk."""
        size = self._args.tokens_per_chunk
        for i in range(self.chunks):
            yield min(size, self.tokens - i * size)


def _draw_fault(args: argparse.Namespace, rng: random.Random, asked_tokens: int) -> str | None:
    at = rng.random()
    for name in FAULTS:
        at -= getattr(args, f"{name}_fraction")
        if at < 0:
            return None if name == "short" and asked_tokens < 2 else name
    return None


def _spread(rng: random.Random, mean_ms: float, sigma: float) -> float:
    """A lognormal draw with this mean."""
    return mean_ms if sigma == 0 else mean_ms * math.exp(sigma * rng.gauss(0, 1) - sigma * sigma / 2)
