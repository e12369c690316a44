"""From raw texts to prompts that fit: count tokens in batches, and drop what is too short or too long."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchhydra.datasets import Prompt, Tokenizer
from benchhydra.errors import DatasetError

BATCH = 256


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prompt before its tokens are counted. Without ``output_tokens``, the output is as long as ``answer``."""

    text: str
    answer: str = ""
    output_tokens: int | None = None
    messages: tuple[dict[str, str], ...] | None = None
    send_at_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds of lengths in tokens. None: no bound."""

    min_tokens: int = 1
    max_prompt: int | None = None
    max_total: int | None = None

    def fit(self, prompt: Prompt) -> bool:
        """Whether the prompt and its output are within the bounds."""
        total = prompt.prompt_tokens + prompt.output_tokens
        return (
            min(prompt.prompt_tokens, prompt.output_tokens) >= self.min_tokens
            and (self.max_prompt is None or prompt.prompt_tokens <= self.max_prompt)
            and (self.max_total is None or total <= self.max_total)
        )


def take_prompts(prompts: Iterator[Prompt], count: int, source: str, *, allow_repeat: bool = False) -> Iterator[Prompt]:
    """The first ``count`` prompts. Where there are fewer, they are used again if ``allow_repeat``.

    Raises DatasetError where they are not, or where there is none.
    """
    repeatable: list[Prompt] = []
    taken = 0
    for prompt in itertools.islice(prompts, count):
        taken += 1
        if allow_repeat:
            repeatable.append(prompt)
        yield prompt
    if taken == count:
        return
    if not repeatable:
        hint = (
            f"num_prompts={taken}, or dataset.allow_repeat=true" if taken else "looser bounds, or another dataset.path"
        )
        raise DatasetError(f"{source} holds {taken} prompts that fit, {count} are asked for", hint=hint)
    yield from itertools.islice(itertools.cycle(repeatable), count - taken)


def fitting(
    candidates: Iterable[Candidate], tokenizer: Tokenizer, bounds: Bounds, output_tokens: int | None
) -> Iterator[Prompt]:
    """The candidates that fit, in order, as prompts. ``output_tokens`` takes precedence over their own."""
    source = iter(candidates)
    while batch := list(itertools.islice(source, BATCH)):
        prompt_tokens = tokenizer.count_batch([candidate.text for candidate in batch])
        answer_tokens = tokenizer.count_batch([candidate.answer for candidate in batch])
        for candidate, own_tokens, answer in zip(batch, prompt_tokens, answer_tokens, strict=True):
            wanted = output_tokens or candidate.output_tokens or answer
            length = own_tokens + tokenizer.overhead
            prompt = Prompt(candidate.text, length, wanted, candidate.messages, candidate.send_at_s)
            if bounds.fit(prompt):
                yield prompt


def smaller(*bounds: int | None) -> int | None:
    """The smallest of the bounds that are given; None where none is."""
    given = [bound for bound in bounds if bound is not None]
    return min(given) if given else None
