"""Prompts that warm an engine up: of the lengths of the measured ones, but random, so that they share no prefix.

The dataset cannot give them: a file that is read in order would give the measured prompts again, and these would be
found in the prefix cache.
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
    """``count`` prompts of random words, with the given lengths in turn. Raises DatasetError."""
    pairs = itertools.islice(itertools.cycle(zip(prompt_tokens, output_tokens, strict=True)), count)
    lengths = [(max(prompt, tokenizer.overhead + 1), output) for prompt, output in pairs]
    texts = Writer(tokenizer, rng).texts([prompt for prompt, _ in lengths], [])
    return [Prompt(text, prompt, output) for text, (prompt, output) in zip(texts, lengths, strict=True)]
