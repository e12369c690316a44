"""Prompts that begin alike are found in a prefix cache as often as was asked, and never without it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from benchhydra.datasets import Prompt, Tokenizer
from benchhydra.datasets.prefix_groups import draw_groups
from benchhydra.datasets.synthetic import Synthetic
from benchhydra.errors import ConfigError
from benchhydra.fakeserver.prefix_cache import PrefixCache


def sampled(count: int, tokenizer: Tokenizer, **settings: Any) -> list[Prompt]:
    return list(Synthetic(**settings).sample(count, tokenizer, np.random.default_rng(3), None))


def hit_fraction(prompts: list[Prompt], tokenizer: Tokenizer, block_tokens: int = 16) -> float:
    cache = PrefixCache(block_tokens=block_tokens)
    for prompt in prompts:
        words = [*["bos"] * tokenizer.overhead, *tokenizer.encode(prompt.text)]
        cache.look_up(words, str(prompt.body.get("cache_salt", "")))
    return cache.hits / cache.queries


@pytest.mark.parametrize("asked", [0.1, 0.5, 0.8])
@pytest.mark.parametrize(("groups", "zipf"), [(1, 0.0), (20, 1.0)])
def test_a_cache_finds_the_fraction_that_was_asked(
    tokenizer: Tokenizer, asked: float, groups: int, zipf: float
) -> None:
    settings = {"prefix_hit_fraction": asked, "prefix_groups": groups, "prefix_zipf": zipf}
    prompts = sampled(400, tokenizer, prompt_tokens=120, **settings)
    assert hit_fraction(prompts, tokenizer) == pytest.approx(asked, abs=0.002)
    assert {prompt.prompt_tokens for prompt in prompts} == {120}


def test_lengths_that_differ_and_other_blocks(words: Tokenizer) -> None:
    lengths = {"prompt_tokens": 300, "prompt_shape": "lognormal", "prefix_block_tokens": 32, "prefix_groups": 5}
    prompts = sampled(400, words, prefix_hit_fraction=0.6, **lengths)
    assert hit_fraction(prompts, words, block_tokens=32) == pytest.approx(0.6, abs=0.005)


def test_groups_share_their_own_prefix(words: Tokenizer) -> None:
    prompts = sampled(60, words, prompt_tokens=40, prefix_tokens=16, prefix_groups=3)
    beginnings = Counter(" ".join(prompt.text.split()[:16]) for prompt in prompts)
    assert len(beginnings) == 3 and sum(beginnings.values()) == 60
    assert len({prompt.text for prompt in prompts}) == 60


def test_groups_are_as_popular_as_the_exponent_says() -> None:
    counts = np.bincount(draw_groups(4, 1.0, 100_000, np.random.default_rng(0))) / 100_000
    assert counts == pytest.approx(np.array([12, 6, 4, 3]) / 25, abs=0.01)


def test_salts_keep_prompts_apart(words: Tokenizer) -> None:
    found = [
        hit_fraction(sampled(50, words, prompt_tokens=64, prefix_tokens=48, cache_salt=salt), words)
        for salt in ("none", "load", "request")
    ]
    assert found == [pytest.approx(0.735)] * 2 + [0.0]
    assert sampled(1, words)[0].body == {}


def test_loads_of_one_seed_have_the_same_prompts_and_other_salts(words: Tokenizer) -> None:
    first, second = (sampled(2, words, cache_salt="load") for _ in range(2))
    assert [prompt.text for prompt in first] == [prompt.text for prompt in second]
    assert first[0].body == first[1].body != second[0].body == second[1].body


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prefix_groups": 0}, "prefix_groups=0 must be at least 1"),
        ({"prefix_hit_fraction": 0.95}, "whole blocks are at most 0.875 of a prompt of 128 tokens"),
        ({"prefix_hit_fraction": 0.5, "prefix_tokens": 16}, "set the same lengths"),
        ({"prefix_hit_fraction": 0.5, "cache_salt": "request"}, "nothing is found with cache_salt=request"),
        ({"prefix_zipf": -1.0}, "prefix_zipf=-1 must be at least 0"),
    ],
)
def test_prefixes_that_are_impossible_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Synthetic(**settings)
