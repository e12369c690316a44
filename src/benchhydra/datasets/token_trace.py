"""``dataset=token_trace``: recorded lengths and send times, with prompts made to fit them.

Traces of real traffic hold no texts: Mooncake's (timestamp, input_length, output_length, hash_ids) name blocks of the
prompt by number, so that prompts which begin with the same blocks can share a prefix cache; Azure's and BurstGPT's
hold lengths only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchhydra.datasets import Prompt, Tokenizer
from benchhydra.datasets.data_file import DataRecord
from benchhydra.datasets.file_dataset import FileDataset, UsableRecords, read_usable
from benchhydra.datasets.files import local
from benchhydra.datasets.record_fields import InvalidRecord, RecordFields, describe_value
from benchhydra.datasets.synthetic import Writer
from benchhydra.datasets.trace_times import TIME_UNITS, TraceTimes
from benchhydra.errors import ConfigError, DatasetError
from benchhydra.progress import Progress
from benchhydra.registry import knob, option

#: Names of the lengths: Mooncake's, Azure's, BurstGPT's.
INPUT_NAMES = ("input_length", "ContextTokens", "Request tokens")
OUTPUT_NAMES = ("output_length", "GeneratedTokens", "Response tokens")
TIME_NAMES = ("timestamp", "TIMESTAMP", "Timestamp")
BATCH = 256


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """The recorded request of one record. blocks: the numbers of its prompt's blocks; empty if they are unknown."""

    record: DataRecord
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...]


@option("dataset", "token_trace")
class TokenTrace(FileDataset):
    """Random words of recorded lengths; prompts share the blocks that their records share.

    Records with an output of 0 tokens, as BurstGPT's of requests that failed, are left out and counted.
    """

    prefix_cache_intended: bool = field(default=True, metadata={"doc": "prompts share the blocks of their records"})
    block_tokens: int = knob(512, "length of a block of hash_ids (Mooncake's traces: 512)", unit="tokens")
    length_scale: float = knob(1.0, "multiply recorded lengths by this, for a model of another context length")
    time_unit: str = knob(
        "auto", "unit of numbers under timestamp; auto: recognized, ms for Mooncake's records", choices=TIME_UNITS
    )

    field_names = ("input_length", "output_length", "timestamp", "hash_ids")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.block_tokens < 1:
            raise ConfigError(f"dataset.block_tokens={self.block_tokens} must be at least 1")
        if not 0 < self.length_scale < math.inf:
            raise ConfigError(f"dataset.length_scale={self.length_scale:g} must be above 0 and finite")

    def check(self, count: int) -> None:
        if self.local_files() is not None:
            self.require(len(self._requests()), count)

    def recorded_count(self) -> int | None:
        return None if self.local_files() is None else len(self._requests())

    def recorded_s(self, count: int) -> Sequence[float] | None:
        if self.local_files() is None:
            return None
        records = [request.record for request in self._requests()]
        return self._times(records).increasing_s(records[:count])

    def warnings(self) -> tuple[str, ...]:
        sentence = self._usable().sentence(self.source)
        return (sentence,) if sentence else ()

    def sample(
        self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterator[Prompt]:
        """Return prompts in the file's order. Raises DatasetError if one is too long for the model."""
        requests = self._requests()
        self.require(len(requests), count)
        times = self._times([request.record for request in requests])
        source = itertools.islice(itertools.cycle(requests), count)
        writer = BlockWriter(tokenizer, rng, self._scaled(self.block_tokens))
        while batch := list(itertools.islice(source, BATCH)):
            for request in batch:
                self._check_length(request, tokenizer, max_total_tokens)
            for request, text in zip(batch, writer.texts(batch), strict=True):
                send_at_s = times.relative_s(request.record)
                yield Prompt(text, request.input_tokens, request.output_tokens, send_at_s=send_at_s)

    def _requests(self) -> list[RecordedRequest]:
        return self._usable().items

    def _usable(self) -> UsableRecords[RecordedRequest]:
        """Return the requests of all records. Raises DatasetError for the first record that cannot be used."""
        return read_usable(self, [local(self.path, Progress())], self._request)

    def _times(self, records: Sequence[DataRecord]) -> TraceTimes:
        is_mooncake = "hash_ids" in records[0].values
        return TraceTimes.of(records, self, names=TIME_NAMES, unit="ms" if is_mooncake else None)

    def _request(self, record: DataRecord) -> RecordedRequest:
        try:
            fields = self.fields_of(record)
            name, output = fields.find(*OUTPUT_NAMES)
            if self.output_tokens is not None or str(output) != "0":
                return self._read(record, fields)
        except InvalidRecord as error:
            raise self.refuse(record, error) from error
        raise InvalidRecord(name, "0, the recorded request failed")  # leaves the record out

    def _read(self, record: DataRecord, fields: RecordFields) -> RecordedRequest:
        input_tokens = fields.tokens(*INPUT_NAMES)
        output_tokens = self.output_tokens or fields.tokens(*OUTPUT_NAMES)
        if input_tokens is None or output_tokens is None:
            name = "input_length" if input_tokens is None else "output_length"
            raise InvalidRecord(name, f"it is missing: the columns are {fields.column_names()}")
        lengths = self._scaled(input_tokens), self.output_tokens or self._scaled(output_tokens)
        return RecordedRequest(record, *lengths, self._blocks(fields, input_tokens))

    def _scaled(self, tokens: int) -> int:
        return tokens if self.length_scale == 1 else max(1, round(tokens * self.length_scale))

    def _blocks(self, fields: RecordFields, input_tokens: int) -> tuple[int, ...]:
        name, blocks = fields.find("hash_ids")
        if blocks is None:
            return ()
        if not isinstance(blocks, list) or not all(type(block) is int and abs(block) < 2**63 for block in blocks):
            raise InvalidRecord(name, f"{describe_value(blocks)} is not a list of whole numbers")
        needed = -(-input_tokens // self.block_tokens)
        whole = input_tokens // self.block_tokens
        if len(blocks) not in (whole, needed):  # some traces have no number for a prompt's last, shorter block
            text = f"{len(blocks)} blocks, but {input_tokens} tokens are {needed} blocks of {self.block_tokens}"
            raise InvalidRecord(name, text)
        return tuple(blocks)

    def _check_length(self, request: RecordedRequest, tokenizer: Tokenizer, max_total_tokens: int | None) -> None:
        total = request.input_tokens + request.output_tokens
        if max_total_tokens is not None and total > max_total_tokens:
            text = f"{total} tokens of prompt and output exceed max_model_len={max_total_tokens}"
            raise DatasetError(f"{request.record.place}: {text}", hint="model.max_model_len=null, or a shorter trace")
        if request.input_tokens <= tokenizer.overhead:
            text = f"{request.input_tokens} tokens are too short for a prompt: {tokenizer.overhead} are not its own"
            raise DatasetError(f"{request.record.place}: {text}")

    def hint(self, field: str, record: DataRecord) -> str:
        if field == "hash_ids":
            return "dataset.block_tokens=N sets the length of a block"
        return super().hint(field, record) if field in self.field_names else ""


class BlockWriter:
    """Writes texts of exact lengths whose blocks of the same number are the same words.

    A block's words are drawn by its number, so that a trace of 100,000 blocks takes no memory.
    """

    def __init__(self, tokenizer: Tokenizer, rng: np.random.Generator, block_tokens: int) -> None:
        self._writer = Writer(tokenizer, rng)
        self._seed = int(rng.integers(2**63))
        self._overhead, self._block_tokens = tokenizer.overhead, block_tokens

    def texts(self, requests: Sequence[RecordedRequest]) -> list[str]:
        """Return a text for each request. Raises DatasetError if the tokenizer has no words of one token."""
        prefixes = [self._prefix(request) for request in requests]
        return self._writer.texts_with_prefixes([request.input_tokens for request in requests], prefixes)

    def _prefix(self, request: RecordedRequest) -> list[str]:
        """Return the words of the prompt's blocks; the writer adds those of a last block without a number."""
        words = [word for block in request.blocks for word in self._block(block)]
        return words[: request.input_tokens - self._overhead]

    def _block(self, number: int) -> list[str]:
        return self._writer.words(self._block_tokens, np.random.default_rng([self._seed, number % 2**64]))
