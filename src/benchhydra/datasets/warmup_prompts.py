"""Other prompts of the same lengths: they warm an engine up, and leave nothing of the measured ones in its caches.

A file cannot be drawn from a second time for that: in its order, the prompts would be the very ones that are measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from benchhydra.datasets import Prompt, Tokenizer
from benchhydra.datasets.synthetic import Writer


def warmup_prompts(
    count: int,
    prompt_tokens: Sequence[int],
    output_tokens: Sequence[int],
    tokenizer: Tokenizer,
    rng: np.random.Generator,
) -> list[Prompt]:
    """``count`` prompts of random words, as long as the given ones in turn. Raises DatasetError."""
    pairs = itertools.islice(itertools.cycle(zip(prompt_tokens, output_tokens, strict=True)), count)
    lengths = [(max(prompt, tokenizer.overhead + 1), output) for prompt, output in pairs]
    texts = Writer(tokenizer, rng).texts([prompt for prompt, _ in lengths], [])
    return [Prompt(text, prompt, output) for text, (prompt, output) in zip(texts, lengths, strict=True)]
