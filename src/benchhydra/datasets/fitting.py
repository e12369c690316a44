"""From raw texts to prompts that fit: tokenise in batches, drop what is too short or too long, count what is left."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchhydra.datasets import Prompt, Tokenizer
from benchhydra.errors import DatasetError

BATCH = 256


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prompt before it is counted. ``answer`` gives the output length where ``output_tokens`` does not."""

    text: str
    answer: str = ""
    output_tokens: int | None = None
    messages: tuple[dict[str, str], ...] | None = None
    send_at_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What fits, in tokens. None: no bound."""

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


def take_candidates(
    prompts: Iterator[Prompt], count: int, source: str, *, allow_repeat: bool = False
) -> Iterator[Prompt]:
    """``count`` prompts, from the start again where repeats are allowed. Raises DatasetError where there are fewer."""
    seen: list[Prompt] = []
    given = 0
    for prompt in itertools.islice(prompts, count):
        given += 1
        if allow_repeat:
            seen.append(prompt)
        yield prompt
    if given == count:
        return
    if not seen:
        hint = (
            f"num_prompts={given}, or dataset.allow_repeat=true" if given else "looser bounds, or another dataset.path"
        )
        raise DatasetError(f"{source} holds {given} prompts that fit, {count} are asked for", hint=hint)
    yield from itertools.islice(itertools.cycle(seen), count - given)


def fitting(
    candidates: Iterable[Candidate], tokenizer: Tokenizer, bounds: Bounds, output_tokens: int | None
) -> Iterator[Prompt]:
    """The candidates that fit, in order; ``output_tokens`` wins over their own."""
    source = iter(candidates)
    while batch := list(itertools.islice(source, BATCH)):
        prompts = tokenizer.count_batch([candidate.text for candidate in batch])
        answers = tokenizer.count_batch([candidate.answer for candidate in batch])
        for candidate, length, answer in zip(batch, prompts, answers, strict=True):
            wanted = output_tokens or candidate.output_tokens or answer
            made = Prompt(candidate.text, length + tokenizer.overhead, wanted, candidate.messages, candidate.send_at_s)
            if bounds.fit(made):
                yield made


def smaller(*bounds: int | None) -> int | None:
    """The tightest of the bounds that there are."""
    there = [bound for bound in bounds if bound is not None]
    return min(there) if there else None
