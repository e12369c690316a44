"""Synthetic prompts: exact under the model's tokenizer, and an end to whatever cannot be made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchhydra.datasets import Prompt, Tokenizer, synthetic
from benchhydra.datasets.synthetic import BATCH_PROMPTS, SPOT_CHECK, Synthetic, Writer
from benchhydra.errors import ConfigError, DatasetError


def sampled(
    tokenizer: Tokenizer, count: int = 50, *, seed: int = 1, most: int | None = None, **fields: Any
) -> list[Prompt]:
    return list(Synthetic(**fields).sample(count, tokenizer, np.random.default_rng(seed), most))


def counted(tokenizer: Tokenizer, prompts: list[Prompt]) -> list[int]:
    """Lengths as a server counts them."""
    return [n + tokenizer.overhead for n in tokenizer.count_batch([prompt.text for prompt in prompts])]


@pytest.mark.parametrize("length", [2, 3, 17, 128, 1000])
def test_lengths_are_exact_by_encoding_again(tokenizer: Tokenizer, length: int) -> None:
    prompts = sampled(tokenizer, prompt_tokens=length, output_tokens=7)
    assert counted(tokenizer, prompts) == [length] * 50
    assert {(p.prompt_tokens, p.output_tokens) for p in prompts} == {(length, 7)}


def test_a_bos_is_counted(with_bos: Tokenizer, tiny: Tokenizer) -> None:
    assert (tiny.overhead, with_bos.overhead) == (0, 1)
    (prompt,) = sampled(with_bos, 1, prompt_tokens=10)
    assert tiny.count_batch([prompt.text]) == [9]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(3, 300), prefix=st.integers(0, 299), seed=st.integers(0, 1000))
def test_any_length_and_prefix_is_exact_or_refused(tiny: Tokenizer, length: int, prefix: int, seed: int) -> None:
    prefix = min(prefix, length - 2)
    prompts = sampled(tiny, 8, seed=seed, prompt_tokens=length, prefix_tokens=prefix)
    assert counted(tiny, prompts) == [length] * 8


@pytest.mark.parametrize("shape", ["uniform", "normal", "lognormal"])
def test_distributions_keep_their_bounds_and_means(tokenizer: Tokenizer, shape: str) -> None:
    sides = {"prompt_min": 20, "prompt_max": 180, "output_min": 5, "output_max": 75}
    means = {"prompt_tokens": 100, "output_tokens": 40}
    prompts = sampled(tokenizer, 2000, prompt_shape=shape, output_shape=shape, **sides, **means)
    lengths, outputs = [p.prompt_tokens for p in prompts], [p.output_tokens for p in prompts]
    assert counted(tokenizer, prompts) == lengths
    assert 20 <= min(lengths) < max(lengths) <= 180
    assert 5 <= min(outputs) < max(outputs) <= 75
    assert np.mean(lengths) == pytest.approx(100, rel=0.05)
    assert np.mean(outputs) == pytest.approx(40, rel=0.05)


def test_lengths_have_the_requested_standard_deviation(words: Tokenizer) -> None:
    for shape in ("normal", "lognormal"):
        prompts = sampled(words, 3000, prompt_shape=shape, prompt_tokens=200, prompt_std=30)
        assert np.std([p.prompt_tokens for p in prompts]) == pytest.approx(30, rel=0.1)


def test_a_prefix_is_shared_and_nothing_else(tokenizer: Tokenizer) -> None:
    prompts = sampled(tokenizer, prompt_tokens=64, prefix_tokens=32)
    ids = [tokenizer.encode(prompt.text) for prompt in prompts]
    assert len({tuple(row[:32]) for row in ids}) == 1
    assert len({tuple(row[32:48]) for row in ids}) == 50
    assert counted(tokenizer, prompts) == [64] * 50


def test_a_prefix_is_meant_to_hit_the_cache() -> None:
    assert Synthetic(prefix_tokens=8).prefix_cache_intended
    assert not Synthetic().prefix_cache_intended


def test_no_two_prompts_share_their_first_block(tokenizer: Tokenizer) -> None:
    prompts = sampled(tokenizer, 1000, prompt_tokens=32)
    assert len({tuple(tokenizer.encode(prompt.text)[:16]) for prompt in prompts}) == 1000


def test_the_seed_alone_decides(tokenizer: Tokenizer) -> None:
    fields: dict[str, Any] = {"prompt_shape": "normal", "output_shape": "lognormal"}
    first, again, other = (sampled(tokenizer, seed=seed, **fields) for seed in (1, 1, 2))
    assert first == again != other


def test_words_that_another_point_has_drawn_are_drawn_again(tokenizer: Tokenizer) -> None:
    synthetic._pools.clear()
    first_rng, rng = np.random.default_rng(5), np.random.default_rng(5)
    first, again = Writer(tokenizer, first_rng), Writer(tokenizer, rng)
    assert first.words(300) == again.words(300)
    assert rng.bit_generator.state == first_rng.bit_generator.state
    assert Writer(tokenizer, np.random.default_rng(6)).words(300) != first.words(300)
    assert len(synthetic._pools) == 2


def test_only_some_pools_of_words_are_kept(words: Tokenizer) -> None:
    for seed in range(3 * synthetic.KEPT_POOLS):
        Writer(words, np.random.default_rng(seed))
    assert 0 < len(synthetic._pools) <= synthetic.KEPT_POOLS


def test_prompt_and_output_fit_the_model_together(tokenizer: Tokenizer) -> None:
    sides: dict[str, Any] = {"prompt_shape": "normal", "output_shape": "normal", "prompt_std": 100, "output_std": 100}
    prompts = sampled(tokenizer, 500, most=128, prompt_tokens=100, output_tokens=100, **sides)
    assert max(p.prompt_tokens + p.output_tokens for p in prompts) == 128
    assert min(p.output_tokens for p in prompts) >= 1
    assert counted(tokenizer, prompts) == [p.prompt_tokens for p in prompts]


@pytest.mark.parametrize(
    ("most", "fields", "words_"),
    [
        (100, {"prompt_tokens": 80, "output_tokens": 21}, "exceed max_model_len=100"),
        (1, {"prompt_shape": "normal"}, "leaves no room"),
        (30, {"prompt_shape": "normal", "prefix_tokens": 40}, "leaves no room"),
    ],
)
def test_what_cannot_fit_is_refused(words: Tokenizer, most: int, fields: dict[str, Any], words_: str) -> None:
    with pytest.raises(DatasetError, match=words_):
        sampled(words, most=most, **fields)


def test_a_prompt_shorter_than_its_special_tokens_is_refused(with_bos: Tokenizer) -> None:
    with pytest.raises(DatasetError, match="too short: at least 2"):
        sampled(with_bos, prompt_tokens=1)


class Merging:
    """A tokenizer under which every text of more than two words is 3 tokens, whatever is written."""

    vocab_size, overhead = 100, 0

    def count_batch(self, texts: list[str]) -> list[int]:
        return [min(3, len(text.split())) for text in texts]

    def token(self, token_id: int) -> str:
        return f"w{token_id}"

    def tokens_are_additive(self) -> bool:
        return True


class Counting:
    """A word a token, and a count of encoded texts; from text ``off_from`` on, long ones are a token more."""

    vocab_size, overhead = 3000, 0

    def __init__(self, *, adds_up: bool = True, off_from: float = float("inf")) -> None:
        self.texts, self._adds_up, self._off_from = 0, adds_up, off_from

    def count_batch(self, texts: list[str]) -> list[int]:
        self.texts += len(texts)
        more = int(self.texts > self._off_from)
        return [len(text.split()) + (more if text.count(" ") > 8 else 0) for text in texts]

    def token(self, token_id: int) -> str:
        return f"w{token_id}"

    def tokens_are_additive(self) -> bool:
        return self._adds_up


def encoded(tokenizer: Any, batches: int, **fields: Any) -> int:
    """How many texts of prompts were encoded for so many batches of them, once the words to draw from are known."""
    sampled(tokenizer, 1, **fields)
    tokenizer.texts = 0
    sampled(tokenizer, batches * BATCH_PROMPTS, **fields)
    return int(tokenizer.texts)


def test_additive_prompts_are_only_encoded_in_part() -> None:
    assert encoded(Counting(), 3, prompt_tokens=12) == BATCH_PROMPTS * (1 + 2 / SPOT_CHECK)


def test_prompts_that_may_not_be_additive_are_all_encoded() -> None:
    assert encoded(Counting(adds_up=False), 3, prompt_tokens=12) == 3 * BATCH_PROMPTS


def test_a_wrong_length_in_a_spot_check_makes_all_prompts_be_encoded() -> None:
    """The second batch's sample is the first that is off: all of that batch is mended, and the third is not trusted."""
    tokenizer: Any = Counting()
    sampled(tokenizer, BATCH_PROMPTS, prompt_tokens=12)
    tokenizer = Counting(off_from=tokenizer.texts)
    prompts = sampled(tokenizer, 3 * BATCH_PROMPTS, prompt_tokens=12)
    assert [len(p.text.split()) for p in prompts] == [12] * BATCH_PROMPTS + [11] * 2 * BATCH_PROMPTS


def test_a_length_that_no_text_has_is_an_error(words: Tokenizer) -> None:
    merging: Any = Merging()
    with pytest.raises(DatasetError, match="no text of exactly 10 tokens"):
        sampled(merging, 2, prompt_tokens=10)


def test_a_vocabulary_without_words_is_an_error() -> None:
    wordless: Any = type("Wordless", (Merging,), {"token": lambda self, token_id: "#"})()
    with pytest.raises(DatasetError, match="no words of one token"):
        sampled(wordless, 2, prompt_tokens=2)


@pytest.mark.parametrize(
    ("fields", "words_"),
    [
        ({"prompt_shape": "zipf"}, "prompt_shape"),
        ({"prompt_tokens": 0}, "prompt_tokens=0"),
        ({"output_tokens": 0}, "output_tokens=0"),
        ({"output_tokens": None}, "output_tokens=null"),
        ({"prompt_std": 0.0}, "prompt_std"),
        ({"prompt_shape": "uniform"}, "needs its bounds"),
        ({"output_min": 9, "output_max": 8}, "output_min=9"),
        ({"prompt_min": 0}, "prompt_min=0"),
        ({"prefix_tokens": 128}, "prefix_tokens=128"),
        ({"prefix_tokens": -1}, "prefix_tokens=-1"),
    ],
)
def test_invalid_settings_are_config_errors(fields: dict[str, Any], words_: str) -> None:
    with pytest.raises(ConfigError, match=words_):
        Synthetic(**fields)
