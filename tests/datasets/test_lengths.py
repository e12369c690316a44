"""Lengths of made prompts: distributions, and pairs from files."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchhydra.datasets import Prompt, Tokenizer
from benchhydra.datasets.length_distributions import draw_lengths, draw_values
from benchhydra.datasets.synthetic import Synthetic
from benchhydra.errors import ConfigError, DatasetError


def drawn(shape: str, **options: Any) -> np.ndarray[Any, Any]:
    return draw_lengths(shape, 200, 20_000, np.random.default_rng(1), **options)


@pytest.mark.parametrize("shape", ["normal", "lognormal"])
def test_mean_and_standard_deviation_are_as_asked(shape: str) -> None:
    lengths = drawn(shape, std=40.0)
    assert abs(lengths.mean() - 200) < 2 and abs(lengths.std() - 40) < 1.5


@pytest.mark.parametrize(
    ("shape", "std"), [("fixed", 0), ("uniform", 100 / 3**0.5), ("exponential", 50), ("normal", 10), ("lognormal", 20)]
)
def test_values_have_the_mean_and_the_standard_deviation(shape: str, std: float) -> None:
    mean = 100 if shape == "uniform" else 50
    values = draw_values(shape, mean, 50_000, np.random.default_rng(2), std=std)
    assert values.min() >= 0 and abs(values.mean() - mean) < 1 and abs(values.std() - std) < 1


@pytest.mark.parametrize("shape", ["fixed", "uniform", "exponential", "normal", "lognormal"])
def test_a_mean_of_0_is_always_0(shape: str) -> None:
    assert not draw_values(shape, 0.0, 5, np.random.default_rng(0), std=0.0).any()


def test_zipf_draws_in_proportion_to_the_rank() -> None:
    lengths = drawn("zipf", low=10, high=1000, exponent=1.5)
    counts = Counter(lengths.tolist())
    assert lengths.min() >= 10 and lengths.max() <= 1000
    for length in (11, 13):
        expected = 1 / (length - 9) ** 1.5
        assert abs(counts[length] / counts[10] - expected) < 0.15 * expected


def test_bounds_are_kept() -> None:
    for shape in ("uniform", "exponential", "normal", "lognormal", "zipf"):
        lengths = drawn(shape, low=150, high=220)
        assert lengths.min() >= 150 and lengths.max() <= 220


def sampled(path: Path, tokenizer: Tokenizer, count: int = 400, most: int | None = None) -> list[Prompt]:
    dataset = Synthetic(lengths_from=str(path))
    dataset.check(count)
    return list(dataset.sample(count, tokenizer, np.random.default_rng(1), most))


PAIRS = {(100, 7), (20, 90), (33, 33)}


@pytest.mark.parametrize("names", [("prompt_tokens", "output_tokens"), ("input_length", "output_length")])
def test_pairs_of_numbers_stay_together(tmp_path: Path, tiny: Tokenizer, names: tuple[str, str]) -> None:
    path = tmp_path / "pairs.jsonl.gz"
    rows = [dict(zip(names, pair, strict=True)) for pair in sorted(PAIRS)]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    prompts = sampled(path, tiny)
    counts = Counter((prompt.prompt_tokens, prompt.output_tokens) for prompt in prompts)
    assert set(counts) == PAIRS and min(counts.values()) > 90
    assert tiny.count_batch([prompts[0].text]) == [prompts[0].prompt_tokens]


def test_pairs_of_a_csv_file(tmp_path: Path, words: Tokenizer) -> None:
    path = tmp_path / "azure.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023,40,4\n2023,50,5\n")
    assert {(p.prompt_tokens, p.output_tokens) for p in sampled(path, words)} == {(40, 4), (50, 5)}


def test_lengths_of_the_texts_of_another_dataset(tmp_path: Path, words: Tokenizer) -> None:
    path = tmp_path / "talks.json"
    talk = [{"from": "human", "value": "one two three"}, {"from": "gpt", "value": "four five"}]
    path.write_text(json.dumps([{"conversations": talk}, {"prompt": "a b c d", "response": "e"}, {"id": 1}]))
    prompts = sampled(path, words)
    assert {(p.prompt_tokens, p.output_tokens) for p in prompts} == {(3, 2), (4, 1)}
    assert not any("one two" in prompt.text for prompt in prompts)
    assert "1 of 3 records were left out" in Synthetic(lengths_from=str(path)).warnings()[0]


def test_pairs_are_cut_to_the_model(tmp_path: Path, words: Tokenizer) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt_tokens": 500, "output_tokens": 50}')
    (prompt,) = sampled(path, words, 1, most=100)
    assert prompt.prompt_tokens + prompt.output_tokens == 100


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.jsonl"
    nothing.write_text('{"id": 1}')
    with pytest.raises(DatasetError, match="no record has lengths"):
        Synthetic(lengths_from=str(nothing)).check(1)
    with pytest.raises(DatasetError, match="no such file"):
        Synthetic(lengths_from=str(tmp_path / "absent")).check(1)
    with pytest.raises(DatasetError, match="is not https"):
        Synthetic(lengths_from="http://host/pairs.csv")
    for fields in ({"prompt_shape": "uniform", "prompt_min": 1, "prompt_max": 2}, {"prefix_hit_fraction": 0.2}):
        with pytest.raises(ConfigError, match="sets all lengths"):
            Synthetic(lengths_from="pairs.csv", **fields)
    with pytest.raises(ConfigError, match="shape=zipf needs its bounds"):
        Synthetic(prompt_shape="zipf")
