"""From raw texts to prompts: count tokens in batches, and drop prompts that are too short or too long."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchhydra.datasets import Message, Prompt, Tokenizer
from benchhydra.errors import DatasetError

BATCH = 256


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prompt before its tokens are counted. Without ``output_tokens``, the output length is that of ``answer``."""

    text: str
    answer: str = ""
    output_tokens: int | None = None
    messages: tuple[Message, ...] | None = None
    send_at_s: float | None = None
    expect: str = ""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds of lengths in tokens; None: no bound."""

    min_tokens: int = 1
    max_prompt: int | None = None
    max_total: int | None = None

    def violation(self, prompt: Prompt) -> str:
        """Return which bound the prompt or its output breaks, in words; "" if both are within the bounds."""
        total = prompt.prompt_tokens + prompt.output_tokens
        if prompt.prompt_tokens < self.min_tokens:
            return f"have a prompt of fewer than {self.min_tokens} tokens"
        if prompt.output_tokens < self.min_tokens:
            return f"have an output of fewer than {self.min_tokens} tokens"
        if self.max_prompt is not None and prompt.prompt_tokens > self.max_prompt:
            return f"have a prompt of more than {self.max_prompt} tokens"
        if self.max_total is not None and total > self.max_total:
            return f"have more than {self.max_total} tokens of prompt and output"
        return ""


def take_prompts(
    prompts: Iterator[Prompt], count: int, source: str, *, dropped: Counter[str], allow_repeat: bool = False
) -> Iterator[Prompt]:
    """Yield the first ``count`` prompts; if there are fewer and ``allow_repeat``, yield them repeatedly.

    dropped: how many prompts broke which bound, filled by ``fitting`` while the prompts are drawn. Raises DatasetError
    if there are fewer without ``allow_repeat``, or none.
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
        reasons = "; ".join(f"{number} {bound}" for bound, number in dropped.most_common())
        text = f"{source} has only {taken} prompts that fit, but {count} are needed"
        raise DatasetError(f"{text} ({reasons})" if reasons else text, hint=hint)
    yield from itertools.islice(itertools.cycle(repeatable), count - taken)


def fitting(
    candidates: Iterable[Candidate],
    tokenizer: Tokenizer,
    bounds: Bounds,
    output_tokens: int | None,
    dropped: Counter[str],
) -> Iterator[Prompt]:
    """Yield the candidates that fit, in order, as prompts. ``output_tokens`` takes precedence over the candidate's.

    dropped: counts the others by the bound that they break.
    """
    source = iter(candidates)
    while batch := list(itertools.islice(source, BATCH)):
        prompt_tokens = tokenizer.count_batch([candidate.text for candidate in batch])
        answer_tokens = tokenizer.count_batch([candidate.answer for candidate in batch])
        for candidate, text_tokens, answer_length in zip(batch, prompt_tokens, answer_tokens, strict=True):
            output_length = output_tokens or candidate.output_tokens or answer_length
            prompt_length = text_tokens + tokenizer.overhead
            prompt = Prompt(
                candidate.text,
                prompt_length,
                output_length,
                candidate.messages,
                candidate.send_at_s,
                expect=candidate.expect,
            )
            violation = bounds.violation(prompt)
            if violation:
                dropped[violation] += 1
            else:
                yield prompt


def smaller(*bounds: int | None) -> int | None:
    """Return the smallest bound that is not None; None if there is none."""
    values = [bound for bound in bounds if bound is not None]
    return min(values) if values else None
