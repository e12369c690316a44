"""Warm-up prompts: as long as the measured ones, and none of them."""

from __future__ import annotations

import numpy as np

from benchhydra.datasets import Tokenizer
from benchhydra.datasets.warmup_prompts import warmup_prompts


def test_warmup_prompts_cycle_through_the_lengths_of_measured_ones(tokenizer: Tokenizer) -> None:
    made = warmup_prompts(5, [10, 200], [3, 4], tokenizer, np.random.default_rng(1))
    assert [(p.prompt_tokens, p.output_tokens) for p in made] == [(10, 3), (200, 4), (10, 3), (200, 4), (10, 3)]
    counts = tokenizer.count_batch([p.text for p in made])
    assert [n + tokenizer.overhead for n in counts] == [10, 200, 10, 200, 10]
    assert len({p.text for p in made}) == 5


def test_the_shortest_prompt_is_one_token_of_text(tokenizer: Tokenizer) -> None:
    (made,) = warmup_prompts(1, [0], [1], tokenizer, np.random.default_rng(1))
    assert tokenizer.count_batch([made.text]) == [1]
