"""The plan of an answer, made when its request arrives: fault, tokens, times."""

from __future__ import annotations

import argparse
import itertools
import math
import random
from collections.abc import Sequence
from typing import Any

from benchhydra.fakeserver.tasks import solve

#: Each fault has a flag for the fraction of requests that it affects (``--reset-fraction 0.05``); /stats counts them.
#: Fault -> what its answers are.
FAULTS = {
    "reset": "failed: the connection is reset before or during the answer",
    "timeout": "failed: no answer comes",
    "http_4xx": "failed: status 400",
    "http_5xx": "failed: status 500",
    "malformed": "failed: the first event, or the document, is broken JSON",
    "error_event": "failed: an error object, in a stream after some tokens",
    "early_end": "failed: the stream ends after some tokens without finish_reason and [DONE], or the document is cut",
    "short": "completed: half of the tokens that were asked for",
    "empty": "failed: no text, and a usage of 0 tokens",
    "blank": "completed: only white space, a blank for each token",
    "abort": "failed: half of the tokens, and the finish_reason abort",
    "other_model": "failed: another model's name",
    "bare_error": "failed: an error object of a form of its own, in a stream after some tokens",
    "no_done": "completed: the stream ends without [DONE]",
    "several_choices": "completed: two choices, in a stream interleaved; usage counts both",
    "long": "completed: twice the tokens that were asked for",
    "usage_low": "completed: usage says half of the tokens",
    "repeat": "completed: after its finish_reason, the stream sends its first text again",
    "wrong": "completed: words instead of the answer to a sum, or to a text to copy",
    "broken_items": "failed: an embedding or score is missing, doubled, out of order or no number; else completed",
    "invalid_output": "completed: words instead of the JSON, choice or tool call that was asked for",
}
#: Faults that need two tokens at least; an answer of one is right.
_NEED_TWO = ("short", "abort", "usage_low")


class AnswerPlan:
    """The plan of one answer: its fault, its tokens, and how long each chunk takes.

    index: of its request, from 1; usage_tokens: those that usage reports, if that is not of the requested ones.
    sizes: tokens of each chunk. accepted: drafted tokens that each chunk but the first has accepted; empty without
    speculative decoding.
    """

    def __init__(
        self, args: argparse.Namespace, index: int, requested_tokens: int, usage_tokens: int | None = None
    ) -> None:
        rng = random.Random((args.fake_seed << 40) + index)
        self.index = index
        self.fault = _draw_fault(args, rng, usage_tokens or requested_tokens)
        half = max(1, requested_tokens // 2)
        self.tokens = {"short": half, "abort": half, "long": 2 * requested_tokens}.get(
            self.fault or "", requested_tokens
        )
        self.reported_tokens = {"empty": 0, "usage_low": half}.get(self.fault or "", self.tokens)
        self.choices = 2 if self.fault == "several_choices" else 1
        self.sizes, self.accepted = _chunk_sizes(args, index, self.tokens)
        self.chunks = len(self.sizes)
        self.finish = {"short": "stop", "empty": "stop", "abort": "abort"}.get(self.fault or "", "length")
        self.fault_chunk = rng.randrange(self.chunks)
        self.has_adapter = False
        self.answer: list[str] = []  # the first words of the answer, if the prompt has only one right answer
        self._rng, self._args = rng, args

    def solve(self, words: Sequence[Any]) -> None:
        """Answer a prompt rightly if it is a task with one right answer, as far as the engine's context reaches."""
        if self.fault not in ("wrong", "empty", "blank"):
            self.answer = solve(words[-self._args.context_tokens :] if self._args.context_tokens else words)

    def texts(self) -> list[str]:
        """Return the text of each chunk: the words of the answer, then others."""
        if not self.answer:
            return [self.text(size) for size in self.sizes]
        words = itertools.chain(self.answer, itertools.repeat("w"))
        return ["".join(f" {word}" for word in itertools.islice(words, size)) for size in self.sizes]

    def first_wait_ns(self) -> int:
        """Draw how long the first chunk takes, without the part that depends on the prompt."""
        adapter_ms = self._args.adapter_ms if self.has_adapter else 0.0
        return int((_spread(self._rng, self._args.ttft_ms, self._args.ttft_sigma) + adapter_ms) * 1e6)

    def next_wait_ns(self) -> int:
        """Draw how long a further chunk takes."""
        return int(_spread(self._rng, self._args.itl_ms, self._args.itl_sigma) * 1e6)

    def text(self, tokens: int) -> str:
        """Return the text of this many tokens: a word for each, unless the fault leaves them out."""
        return {"empty": "", "blank": " "}.get(self.fault or "", " w") * tokens


def _chunk_sizes(args: argparse.Namespace, index: int, tokens: int) -> tuple[list[int], list[int]]:
    """Return the tokens of each chunk; with speculative decoding also the accepted tokens of each but the first.

    A step of speculative decoding generates one token and those drafted ones before the first that is wrong.
    """
    if not args.draft_tokens:
        size = args.tokens_per_chunk
        return [min(size, tokens - begin) for begin in range(0, tokens, size)], []
    rng = random.Random((args.fake_seed << 40) - index)
    sizes, accepted = [1], list[int]()
    while sum(sizes) < tokens:
        right = 0
        while right < args.draft_tokens and rng.random() < args.acceptance:
            right += 1
        accepted.append(right)
        sizes.append(min(1 + right, tokens - sum(sizes)))
    return sizes, accepted


def _draw_fault(args: argparse.Namespace, rng: random.Random, requested_tokens: int) -> str | None:
    at = rng.random()
    for name in FAULTS:
        at -= getattr(args, f"{name}_fraction")
        if at < 0:
            return None if name in _NEED_TWO and requested_tokens < 2 else name
    return None


def _spread(rng: random.Random, mean_ms: float, sigma: float) -> float:
    """Return a lognormal draw with this mean; the mean itself if sigma is 0."""
    return mean_ms if sigma == 0 else mean_ms * math.exp(sigma * rng.gauss(0, 1) - sigma * sigma / 2)
