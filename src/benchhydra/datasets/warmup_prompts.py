"""Prompts for a warm-up: random words with the lengths of the measured prompts, so that they share no prefix with them.

They do not come from the dataset: a file that is read in order would yield the measured prompts, which would then be in
the prefix cache.
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
    """Return ``count`` prompts of random words, which cycle through the given lengths. Raises DatasetError."""
    pairs = itertools.islice(itertools.cycle(zip(prompt_tokens, output_tokens, strict=True)), count)
    lengths = [(max(prompt, tokenizer.overhead + 1), output) for prompt, output in pairs]
    texts = Writer(tokenizer, rng).texts([prompt for prompt, _ in lengths], [])
    return [Prompt(text, prompt, output) for text, (prompt, output) in zip(texts, lengths, strict=True)]
