"""Pairs of lengths from a file: of prompts and outputs, as numbers, or as the texts of another dataset.

Prompts and outputs of real traffic are not independent, so that two distributions do not describe them: pairs do.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchhydra.datasets import Tokenizer
from benchhydra.datasets.chat_template import message_text
from benchhydra.datasets.data_file import DataRecord, read_data_file
from benchhydra.datasets.file_dataset import UsableRecords
from benchhydra.datasets.files import local
from benchhydra.datasets.length_distributions import Ints
from benchhydra.datasets.record_fields import InvalidRecord, RecordFields
from benchhydra.errors import DatasetError
from benchhydra.progress import Progress

#: Names of lengths: this program's, those of traces (Mooncake, Azure, BurstGPT), and of other benchmarks.
PROMPT_TOKENS = ("prompt_tokens", "input_length", "ContextTokens", "Request tokens", "prompt_len", "input_tokens")
OUTPUT_TOKENS = ("output_tokens", "output_length", "GeneratedTokens", "Response tokens", "output_len")
PROMPT_TEXTS = ("prompt", "instruction", "question", "input", "text")
OUTPUT_TEXTS = ("output", "response", "answer", "completion")


@dataclass(frozen=True, slots=True)
class LengthPair:
    """The lengths of one record, or the texts whose tokens are counted."""

    lengths: tuple[int, int] | None
    texts: tuple[str, str] = ("", "")


def read_pairs(path: str) -> UsableRecords[LengthPair]:
    """Return the pairs of a file or https URL. Raises DatasetError if it cannot be read, or holds none."""
    file = local(path, Progress())
    return _read(file, file.stat().st_mtime_ns, path)


@lru_cache(maxsize=1)
def _read(file: Path, _: int, path: str) -> UsableRecords[LengthPair]:
    pairs: UsableRecords[LengthPair] = UsableRecords()
    for record in read_data_file(file):
        pairs.add(record, _pair)
    if not pairs.items:
        hint = "columns prompt_tokens and output_tokens, prompt and output, or conversations"
        raise DatasetError(f"no record has lengths: {pairs.sentence(path)}", hint=hint)
    return pairs


def draw_pairs(pairs: Sequence[LengthPair], count: int, tokenizer: Tokenizer, rng: np.random.Generator) -> Ints:
    """Return lengths of prompts (special tokens included) and outputs, drawn with replacement, shape (count, 2)."""
    chosen = [pairs[i] for i in rng.integers(len(pairs), size=count).tolist()]
    texts = list(dict.fromkeys(text for pair in chosen if pair.lengths is None for text in pair.texts))
    tokens = dict(zip(texts, tokenizer.count_batch(texts), strict=True)) if texts else {}
    lengths = [pair.lengths or (tokens[pair.texts[0]] + tokenizer.overhead, tokens[pair.texts[1]]) for pair in chosen]
    return np.array(lengths, dtype=np.int64).reshape(count, 2)


def _pair(record: DataRecord) -> LengthPair:
    """Return the lengths of a record, or its texts. Raises InvalidRecord if it has neither."""
    fields = RecordFields(record, {})
    prompt, output = fields.tokens(*PROMPT_TOKENS), fields.tokens(*OUTPUT_TOKENS)
    if prompt is not None and output is not None:
        return LengthPair((prompt, output))
    question, answer = fields.text(*PROMPT_TEXTS), fields.text(*OUTPUT_TEXTS)
    if question and answer:
        return LengthPair(None, (question, answer))
    turns = fields.messages("conversations", "messages") or ()
    for before, after in itertools.pairwise(turns):
        if (before["role"], after["role"]) == ("user", "assistant"):
            return LengthPair(None, (message_text(before), message_text(after)))
    raise InvalidRecord("prompt_tokens", f"neither lengths nor texts: the columns are {fields.column_names()}")
