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
    """A prompt before its tokens are counted. Without ``output_tokens``, the output length is that of ``answer``.

    texts: further texts of the request, after ``text``; is_query: ``text`` is a query for them, no text like them.
    """

    text: str
    answer: str = ""
    output_tokens: int | None = None
    messages: tuple[Message, ...] | None = None
    send_at_s: float | None = None
    expect: str = ""
    texts: tuple[str, ...] = ()
    is_query: bool = False


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds of lengths in tokens; None: no bound."""

    min_tokens: int = 1
    max_prompt: int | None = None
    max_total: int | None = None

    def violation(self, prompt: Prompt) -> str:
        """Return which bound the prompt or its output breaks, in words; "" if both are within the bounds.

        Of a prompt with several texts, each must be within them.
        """
        lengths = prompt.text_tokens or (prompt.prompt_tokens,)
        if min(lengths) < self.min_tokens:
            return f"have a prompt of fewer than {self.min_tokens} tokens"
        if prompt.output_tokens < self.min_tokens:
            return f"have an output of fewer than {self.min_tokens} tokens"
        if self.max_prompt is not None and max(lengths) > self.max_prompt:
            return f"have a prompt of more than {self.max_prompt} tokens"
        if self.max_total is not None and max(lengths) + prompt.output_tokens > self.max_total:
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
        texts = [text for candidate in batch for text in (candidate.text, *candidate.texts)]
        text_tokens = iter(tokenizer.count_batch(texts))
        answer_tokens = tokenizer.count_batch([candidate.answer for candidate in batch])
        for candidate, answer_length in zip(batch, answer_tokens, strict=True):
            lengths = tuple(next(text_tokens) + tokenizer.overhead for _ in range(1 + len(candidate.texts)))
            prompt = _prompt(candidate, lengths, output_tokens or candidate.output_tokens or answer_length)
            violation = bounds.violation(prompt)
            if violation:
                dropped[violation] += 1
            else:
                yield prompt


def _prompt(candidate: Candidate, lengths: tuple[int, ...], output_tokens: int) -> Prompt:
    """Return a candidate as a prompt. lengths: tokens of each of its texts."""
    texts = candidate.texts if candidate.is_query else (candidate.text, *candidate.texts)
    several = candidate.is_query or len(texts) > 1
    return Prompt(
        candidate.text,
        sum(lengths),
        output_tokens,
        candidate.messages,
        candidate.send_at_s,
        texts=texts if several else (),
        text_tokens=lengths if several else (),
        expect=candidate.expect,
    )


def smaller(*bounds: int | None) -> int | None:
    """Return the smallest bound that is not None; None if there is none."""
    values = [bound for bound in bounds if bound is not None]
    return min(values) if values else None
