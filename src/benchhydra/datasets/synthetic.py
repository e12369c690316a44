"""``dataset=synthetic``: random prompts of exact lengths, without a download."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from benchhydra.datasets import Dataset, Prompt, Tokenizer
from benchhydra.datasets.files import is_url, local, require_https
from benchhydra.datasets.length_distributions import BOUNDED, SHAPES, Ints, draw_lengths
from benchhydra.datasets.length_pairs import draw_pairs, read_pairs
from benchhydra.datasets.prefix_groups import SALTS, draw_groups, prefix_lengths, salt_fields
from benchhydra.errors import ConfigError, DatasetError
from benchhydra.progress import Progress
from benchhydra.registry import knob, option

#: Number of words to draw from: large enough that two prompts rarely start alike, and collected in milliseconds.
POOL_WORDS = 2048
#: Number of pools that a process keeps.
KEPT_POOLS = 16
BATCH_PROMPTS = 512
REPAIR_ROUNDS = 20
#: If tokens are additive, only one text in this many is encoded, as a check.
SPOT_CHECK = 64
#: A token that is a whole ASCII word, with or without the prefix for a word's start (byte-level, SentencePiece).
WORD_TOKEN = re.compile(r"[Ġ▁]?([A-Za-z][A-Za-z0-9]+)")


@option("dataset", "synthetic")
class Synthetic(Dataset):
    """Random words: exact prompt and output lengths with the model's own tokenizer."""

    output_tokens: int | None = knob(64, "output length, or the mean of its distribution", unit="tokens")
    prompt_tokens: int = knob(
        128, "prompt length including special tokens, or the mean of its distribution", unit="tokens"
    )
    prompt_shape: str = knob("fixed", "distribution of prompt lengths", choices=SHAPES)
    prompt_std: float | None = knob(None, "standard deviation of prompt lengths; null: mean / 4", unit="tokens")
    prompt_min: int | None = knob(None, "minimum prompt length; null: what the tokenizer allows", unit="tokens")
    prompt_max: int | None = knob(None, "maximum prompt length; null: only max_model_len", unit="tokens")
    output_shape: str = knob("fixed", "distribution of output lengths", choices=SHAPES)
    output_std: float | None = knob(None, "standard deviation of output lengths; null: mean / 4", unit="tokens")
    output_min: int | None = knob(None, "minimum output length; null: 1", unit="tokens")
    output_max: int | None = knob(None, "maximum output length; null: only max_model_len", unit="tokens")
    zipf_exponent: float = knob(
        1.0, "exponent of the shape zipf: the k-th length from the minimum on is drawn in proportion to 1 / k^exponent"
    )
    lengths_from: str | None = knob(
        None,
        "file or https URL with pairs of lengths, drawn at random instead of all the above: numbers (prompt_tokens and "
        "output_tokens, or a trace's names) or the texts of another dataset (prompt and output, conversations)",
    )
    prefix_tokens: int = knob(
        0, "length of the prefix that all prompts of a group share, part of prompt_tokens", unit="tokens"
    )
    prefix_groups: int = knob(1, "number of groups of prompts, each with a prefix of its own", unit="groups")
    prefix_zipf: float = knob(
        0.0, "exponent of the groups' popularity: the k-th in proportion to 1 / k^exponent; 0: all alike"
    )
    prefix_hit_fraction: float | None = knob(
        None,
        "fraction of prompt tokens that a prefix cache finds which forgets nothing; sets the lengths of prefixes, "
        "instead of prefix_tokens",
        unit="fraction",
    )
    prefix_block_tokens: int = knob(16, "length of a block of the prefix cache, for prefix_hit_fraction", unit="tokens")
    cache_salt: str = knob(
        "none",
        "cache_salt of requests, for servers that know it (vLLM): load: one for the whole load, so that nothing is "
        "found in the prefix cache that was there before; request: each its own, so that nothing is found at all",
        choices=SALTS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_tokens is None:
            raise ConfigError("dataset.output_tokens=null: synthetic data has no lengths of its own", hint="a number")
        for side, mean in (("prompt", self.prompt_tokens), ("output", self.output_tokens)):
            self._check_side(side, mean)
        if not 0 <= self.prefix_tokens < self.prompt_tokens:
            raise ConfigError(
                f"dataset.prefix_tokens={self.prefix_tokens} must be below prompt_tokens={self.prompt_tokens}"
            )
        self._check_prefixes()
        self._check_pairs()
        self.prefix_cache_intended = (
            self.prefix_cache_intended or self.prefix_tokens > 0 or bool(self.prefix_hit_fraction)
        )

    def _check_pairs(self) -> None:
        if not 0 <= self.zipf_exponent < math.inf:
            raise ConfigError(f"dataset.zipf_exponent={self.zipf_exponent:g} must be at least 0 and finite")
        if self.lengths_from is None:
            return
        if is_url(self.lengths_from):
            require_https(self.lengths_from)
        if self.prompt_shape != "fixed" or self.output_shape != "fixed" or self.prefix_hit_fraction is not None:
            text = "dataset.lengths_from sets all lengths: prompt_shape, output_shape and prefix_hit_fraction"
            raise ConfigError(f"{text} have no effect", hint="leave them out")

    def check(self, count: int) -> None:
        if self.lengths_from is not None and not is_url(self.lengths_from):
            read_pairs(self.lengths_from)

    def prepare(self, progress: Progress) -> None:
        """Download the file of lengths once."""
        if self.lengths_from is not None:
            local(self.lengths_from, progress)

    def warnings(self) -> tuple[str, ...]:
        sentence = read_pairs(self.lengths_from).sentence(self.lengths_from) if self.lengths_from is not None else ""
        return (sentence,) if sentence else ()

    def _check_prefixes(self) -> None:
        for name in ("prefix_groups", "prefix_block_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"dataset.{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.prefix_zipf < math.inf:
            raise ConfigError(f"dataset.prefix_zipf={self.prefix_zipf:g} must be at least 0 and finite")
        if self.prefix_hit_fraction is None:
            return
        if not 0 <= self.prefix_hit_fraction < 1:
            raise ConfigError(f"dataset.prefix_hit_fraction={self.prefix_hit_fraction:g} must be from 0 to below 1")
        most = (self.prompt_tokens - 1) // self.prefix_block_tokens * self.prefix_block_tokens / self.prompt_tokens
        if self.prefix_hit_fraction > most:
            text = f"dataset.prefix_hit_fraction={self.prefix_hit_fraction:g}: whole blocks are at most {most:.3g} of"
            raise ConfigError(f"{text} a prompt of {self.prompt_tokens} tokens", hint="a larger dataset.prompt_tokens")
        if self.prefix_tokens:
            text = f"dataset.prefix_tokens={self.prefix_tokens} and prefix_hit_fraction set the same lengths"
            raise ConfigError(text, hint="only one of them")
        if self.cache_salt == "request" and self.prefix_hit_fraction:
            raise ConfigError(
                f"dataset.prefix_hit_fraction={self.prefix_hit_fraction:g}: nothing is found with cache_salt=request",
                hint="dataset.cache_salt=load",
            )

    def _check_side(self, side: str, mean: int) -> None:
        low, high = getattr(self, f"{side}_min"), getattr(self, f"{side}_max")
        std = getattr(self, f"{side}_std")
        if mean < 1:
            raise ConfigError(f"dataset.{side}_tokens={mean} must be at least 1")
        if std is not None and std <= 0:
            raise ConfigError(f"dataset.{side}_std={std} must be above 0")
        shape = getattr(self, f"{side}_shape")
        if shape in BOUNDED and (low is None or high is None):
            raise ConfigError(
                f"dataset.{side}_shape={shape} needs its bounds", hint=f"dataset.{side}_min=64 dataset.{side}_max=256"
            )
        if (low is not None and low < 1) or (low is not None and high is not None and low > high):
            raise ConfigError(f"dataset.{side}_min={low} must be at least 1 and at most {side}_max={high}")

    def sample(
        self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterator[Prompt]:
        """Return prompts of exact lengths, generated lazily. Texts are encoded unless their length is certain."""
        prompts, outputs = self._lengths(count, rng, tokenizer, max_total_tokens)
        writer = Writer(tokenizer, rng)
        prefixes = self._prefixes(writer, prompts, rng, tokenizer.overhead)
        return self._prompts(writer, prefixes, prompts, outputs, salt_fields(self.cache_salt, len(prompts)))

    def _prefixes(
        self, writer: Writer, prompts: Ints, rng: np.random.Generator, overhead: int
    ) -> Callable[[int], list[str]]:
        """Return a function from a prompt's number to the words that it shares with others of its group."""
        if self.prefix_hit_fraction is None and self.prefix_groups == 1:
            prefix = writer.words(self.prefix_tokens) if self.prefix_tokens else []
            return lambda number: prefix
        groups = draw_groups(self.prefix_groups, self.prefix_zipf, len(prompts), rng).tolist()
        lengths = [self.prefix_tokens] * len(prompts)
        if self.prefix_hit_fraction is not None:
            whole = prefix_lengths(groups, prompts.tolist(), self.prefix_hit_fraction, self.prefix_block_tokens)
            lengths = [max(0, length - overhead) for length in whole]
        longest = max(lengths, default=0)
        words = [writer.words(longest) if longest else [] for _ in range(self.prefix_groups)]
        return lambda number: words[groups[number]][: lengths[number]]

    def _prompts(
        self,
        writer: Writer,
        prefix_of: Callable[[int], list[str]],
        prompts: Ints,
        outputs: Ints,
        bodies: Iterator[dict[str, str]],
    ) -> Iterator[Prompt]:
        for start in range(0, len(prompts), BATCH_PROMPTS):
            prompt_lengths = prompts[start : start + BATCH_PROMPTS].tolist()
            output_lengths = outputs[start : start + BATCH_PROMPTS].tolist()
            prefixes = [prefix_of(number) for number in range(start, start + len(prompt_lengths))]
            texts = writer.texts_with_prefixes(prompt_lengths, prefixes)
            for text, length, output in zip(texts, prompt_lengths, output_lengths, strict=True):
                yield Prompt(text, length, output, body=next(bodies))

    def _lengths(
        self, count: int, rng: np.random.Generator, tokenizer: Tokenizer, longest: int | None
    ) -> tuple[Ints, Ints]:
        """Return prompt and output lengths, shape (count,) each: prompts with room for a word, sum <= ``longest``."""
        shortest = tokenizer.overhead + 1 + self.prefix_tokens
        self._check_fixed_lengths(shortest, longest)
        prompts, outputs = self._draw(count, rng, tokenizer)
        prompts, outputs = np.maximum(prompts, shortest), np.maximum(outputs, 1)
        if longest is None:
            return prompts, outputs
        if shortest >= longest:
            raise DatasetError(
                f"max_model_len={longest} leaves no room for a prompt of {shortest} tokens and an output"
            )
        prompts = np.minimum(prompts, longest - 1)
        return prompts, np.minimum(outputs, longest - prompts)

    def _check_fixed_lengths(self, shortest: int, longest: int | None) -> None:
        """Raise DatasetError if a fixed length is impossible: truncating it would measure something else."""
        if self.lengths_from is not None:
            return
        assert self.output_tokens is not None
        fixed = self.prompt_shape == self.output_shape == "fixed"
        if fixed and longest and self.prompt_tokens + self.output_tokens > longest:
            lengths = f"prompt_tokens={self.prompt_tokens} + output_tokens={self.output_tokens}"
            raise DatasetError(
                f"{lengths} exceed max_model_len={longest}", hint="model.max_model_len=null or smaller lengths"
            )
        if self.prompt_tokens < shortest:
            text = f"dataset.prompt_tokens={self.prompt_tokens} is too short: at least {shortest} are needed"
            if self.lengths == "templated":
                hint = "dataset.lengths=prompt does not count the chat template's tokens"
                raise DatasetError(f"{text} with the chat template's tokens", hint=hint)
            raise DatasetError(text)

    def _draw(self, count: int, rng: np.random.Generator, tokenizer: Tokenizer) -> tuple[Ints, Ints]:
        """Draw the lengths of prompts and outputs, shape (count,) each."""
        if self.lengths_from is not None:
            pairs = draw_pairs(read_pairs(self.lengths_from).items, count, tokenizer, rng)
            return pairs[:, 0], pairs[:, 1]
        assert self.output_tokens is not None
        prompts, outputs = (
            draw_lengths(
                getattr(self, f"{side}_shape"),
                mean,
                count,
                rng,
                std=getattr(self, f"{side}_std"),
                low=getattr(self, f"{side}_min"),
                high=getattr(self, f"{side}_max"),
                exponent=self.zipf_exponent,
            )
            for side, mean in (("prompt", self.prompt_tokens), ("output", self.output_tokens))
        )
        return prompts, outputs


class Writer:
    """Writes texts of exact token counts, made of words that are one token each."""

    def __init__(self, tokenizer: Tokenizer, rng: np.random.Generator) -> None:
        self._tokenizer, self._rng = tokenizer, rng
        self._pool, self._starts = _word_pool(tokenizer, rng)
        self._is_first_batch = True
        self._exact = True  # whether every text that was encoded so far had one token per word

    def words(self, count: int, rng: np.random.Generator | None = None) -> list[str]:
        """Return ``count`` random words; the first one is a single token also at the start of a text.

        rng: by default the writer's own.
        """
        if not count:
            return []
        rng = rng or self._rng
        first = self._starts[int(rng.integers(len(self._starts)))]
        rest = rng.integers(len(self._pool), size=count - 1)
        return [first, *[self._pool[i] for i in rest.tolist()]]

    def texts(self, lengths: list[int], prefix: list[str]) -> list[str]:
        """Return one text for each length (including special tokens), all with this prefix. Raises DatasetError."""
        return self.texts_with_prefixes(lengths, [prefix] * len(lengths))

    def texts_with_prefixes(self, lengths: list[int], prefixes: Sequence[list[str]]) -> list[str]:
        """Return one text for each length (including special tokens), each with its own prefix. Raises DatasetError."""
        targets = [length - self._tokenizer.overhead for length in lengths]
        words_of = [[*prefix, *self.words(n - len(prefix))] for n, prefix in zip(targets, prefixes, strict=True)]
        texts = [" ".join(words) for words in words_of]
        unchecked: Sequence[int] = self._texts_to_check(texts, targets)
        for _ in range(REPAIR_ROUNDS):
            if not unchecked:
                return texts
            counts = self._tokenizer.count_batch([texts[i] for i in unchecked])
            wrong = [(i, n - targets[i]) for i, n in zip(unchecked, counts, strict=True) if n != targets[i]]
            self._exact = self._exact and not wrong
            for i, excess in wrong:
                words_of[i] = self._repair(words_of[i], excess)
                texts[i] = " ".join(words_of[i])
            unchecked = [i for i, _ in wrong]
        raise DatasetError(f"no text of exactly {lengths[unchecked[0]]} tokens was found with the model's tokenizer")

    def _texts_to_check(self, texts: list[str], targets: list[int]) -> range:
        """Return the indices of the texts whose tokens must be counted: all or none.

        None if the first batch was exact, tokens are additive, and a sample of these texts is exact.
        """
        if self._is_first_batch:
            self._is_first_batch = False
            return range(len(texts))
        self._exact = self._exact and self._tokens_are_additive and self._sample_is_exact(texts, targets)
        return range(0 if self._exact else len(texts))

    def _sample_is_exact(self, texts: list[str], targets: list[int]) -> bool:
        return self._tokenizer.count_batch(texts[::SPOT_CHECK]) == targets[::SPOT_CHECK]

    @cached_property
    def _tokens_are_additive(self) -> bool:
        return self._tokenizer.tokens_are_additive()

    def _repair(self, words: list[str], excess: int) -> list[str]:
        """Remove ``excess`` words, or add words if it is negative; replace all words if none would remain."""
        if excess >= len(words):
            return self.words(len(words))
        if excess > 0:
            return words[:-excess]
        return words + self.words(-excess)


class WordPool(NamedTuple):
    """Words to draw from, those of them that may start a text, and the state of the random numbers after the draw."""

    words: list[str]
    starts: list[str]
    state_after: Mapping[str, Any]


#: By the tokenizer and the pickled state before the draw: the points of a sweep draw the same words, in 10 ms each.
_pools: dict[tuple[Tokenizer, bytes], WordPool] = {}


def _word_pool(tokenizer: Tokenizer, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Return (words to draw from, those of them that are a single token at the start of a text, or else all)."""
    key = tokenizer, pickle.dumps(rng.bit_generator.state)
    pool = _pools.get(key)
    if pool is None:
        words = _one_token_words(tokenizer, rng)
        starts = [word for word, n in zip(words, tokenizer.count_batch(words), strict=True) if n == 1]
        if len(_pools) >= KEPT_POOLS:
            _pools.clear()
        pool = _pools[key] = WordPool(words, starts or words, rng.bit_generator.state)
    rng.bit_generator.state = pool.state_after
    return pool.words, pool.starts


def _one_token_words(tokenizer: Tokenizer, rng: np.random.Generator) -> list[str]:
    """Return random words of the vocabulary that are one token after a space. Raises DatasetError if there are none."""
    ids = (
        rng.permutation(tokenizer.vocab_size) if tokenizer.vocab_size < 1 << 18 else rng.integers(1 << 18, size=1 << 16)
    )
    words: dict[str, None] = {}
    for token_id in ids.tolist():
        match = WORD_TOKEN.fullmatch(tokenizer.token(token_id))
        if match:
            words[match[1]] = None
        if len(words) == POOL_WORDS:
            break
    (tokens_of_a,) = tokenizer.count_batch(["a"])
    counts = tokenizer.count_batch([f"a {word}" for word in words])
    pool = [word for word, n in zip(words, counts, strict=True) if n == tokens_of_a + 1]
    if not pool:
        raise DatasetError("the model's tokenizer has no words of one token", hint="dataset=jsonl or dataset=sharegpt")
    return pool
