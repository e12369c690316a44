"""``dataset=jsonl``: your own prompts, a record each, optionally with send times for load=trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchhydra.datasets import BATCH, QUERY, Message, Prompt, Tokenizer
from benchhydra.datasets.data_file import DataRecord
from benchhydra.datasets.file_dataset import FileDataset, read_usable
from benchhydra.datasets.fitting import Bounds, Candidate, fitting, take_prompts
from benchhydra.datasets.record_fields import InvalidRecord, RecordFields
from benchhydra.datasets.rendering import render_conversation
from benchhydra.datasets.trace_times import TIME_NAMES, TIME_UNITS, TraceTimes
from benchhydra.errors import ConfigError, DatasetError
from benchhydra.output_check import check_expectation
from benchhydra.progress import Progress
from benchhydra.registry import knob, option

#: Names of the output length: this program's, and those of OpenAI's requests.
OUTPUT_TOKENS = ("output_tokens", "max_tokens", "max_completion_tokens")
#: Keys of OpenAI's requests that change the answer, and are not sent.
IGNORED_KEYS = ("tools", "tool_choice", "response_format", "temperature", "stop")


@dataclass(frozen=True, slots=True)
class OwnRequest:
    """What one record asks for. messages: None if it is a prompt, whose ``text`` it is.

    output: a recorded answer, whose tokens are the output length if ``output_tokens`` is None. group: what the record
    brings if that is all texts of a request, see ``Dataset.text_group``; texts: those after ``text``.
    """

    record: DataRecord
    text: str
    messages: tuple[Message, ...] | None
    output_tokens: int | None
    output: str = ""
    expect: str = ""
    group: str | None = None
    texts: tuple[str, ...] = ()


@option("dataset", "jsonl")
class Jsonl(FileDataset):
    """Records of {"prompt": TEXT} or {"messages": [...]}; "output_tokens", or an "output" of this length.

    Or, for endpoints that take several texts, {"query": TEXT, "documents": [TEXT, ...]} or {"texts": [TEXT, ...]}.
    Optional keys: "expect" (of the output check), "send_at_s", "timestamp". A record that cannot be used ends the run
    before it has started.
    """

    shuffle: bool = knob(False, "draw prompts in random order; else in the file's order")
    time_unit: str = knob(
        "auto",
        "unit of numbers under timestamp; auto: recognized, or refused where it is not clear",
        choices=TIME_UNITS,
    )

    field_names = (
        *("prompt", "messages", "output_tokens", "output", "expect", "send_at_s"),
        *("query", "documents", "texts"),
    )

    def check(self, count: int) -> None:
        if self.local_files() is not None:
            self.require(len(self._requests()), count)

    def text_group(self) -> str | None:
        """As the base says. Raises DatasetError if records differ in it."""
        if self.local_files() is None:
            return self._mapped_group()
        requests = self._requests()
        for request in requests:
            if request.group != requests[0].group:
                raise DatasetError(
                    f"{request.record.place}: it brings {_named(request.group)}, the first record "
                    f"{_named(requests[0].group)}",
                    hint="a file for each kind of record",
                )
        return requests[0].group

    def _mapped_group(self) -> str | None:
        """Return what records bring by the fields that ``columns`` names."""
        if "documents" in self.columns:
            return QUERY
        return BATCH if "texts" in self.columns else None

    def recorded_count(self) -> int | None:
        return None if self.local_files() is None else len(self._requests())

    def recorded_s(self, count: int) -> Sequence[float] | None:
        if self.shuffle:
            raise DatasetError("load=trace needs the file's order", hint="dataset.shuffle=false")
        if self.local_files() is None:
            return None
        records = [request.record for request in self._requests()]
        return TraceTimes.of(records, self).increasing_s(records[:count])

    def warnings(self) -> tuple[str, ...]:
        requests = self._requests()
        ignored = Counter(key for request in requests for key in IGNORED_KEYS if key in request.record.values)
        return tuple(
            f'{self.source}: {count} of {len(requests)} records have "{key}", which is not sent: '
            f"script.body.{key}=... sends one value with every request"
            for key, count in ignored.items()
        )

    def sample(
        self, count: int, tokenizer: Tokenizer, rng: np.random.Generator, max_total_tokens: int | None
    ) -> Iterator[Prompt]:
        """Return prompts in the file's order, or shuffled. Send times are relative to the first one in the file."""
        requests = self._requests()
        times = TraceTimes.of([request.record for request in requests], self)
        order = rng.permutation(len(requests)).tolist() if self.shuffle else range(len(requests))
        candidates = (self._candidate(requests[i], times, tokenizer) for i in order)
        dropped: Counter[str] = Counter()
        bounds = Bounds(max_total=max_total_tokens)
        prompts = fitting(candidates, tokenizer, bounds, self.output_tokens, dropped)
        return take_prompts(prompts, count, self.source, dropped=dropped, allow_repeat=self.allow_repeat)

    def _requests(self) -> list[OwnRequest]:
        """Return the requests of all records. Raises DatasetError for the first record that cannot be used."""
        return read_usable(self, self.files(Progress()), self._request).items

    def _candidate(self, request: OwnRequest, times: TraceTimes, tokenizer: Tokenizer) -> Candidate:
        record, messages = request.record, request.messages
        return Candidate(
            request.text if messages is None else render_conversation(messages, tokenizer, record.place),
            answer=request.output,
            output_tokens=request.output_tokens,
            expect=request.expect,
            texts=request.texts,
            is_query=request.group == QUERY,
            messages=messages,
            send_at_s=times.relative_s(record),
        )

    def _request(self, record: DataRecord) -> OwnRequest:
        try:
            return self._read(record, self.fields_of(record))
        except InvalidRecord as error:
            raise self.refuse(record, error) from error

    def _read(self, record: DataRecord, fields: RecordFields) -> OwnRequest:
        messages = fields.messages("messages")
        text = "" if messages is not None else fields.text("prompt")
        if (text is None or self._mapped_group()) and (request := self._read_group(record, fields)):
            return request
        if text is None:
            raise InvalidRecord("prompt", f'neither a "prompt" nor "messages": the columns are {fields.column_names()}')
        if messages is None and not text:
            raise InvalidRecord("prompt", "it is empty")
        output_tokens = self.output_tokens or fields.tokens(*OUTPUT_TOKENS)
        output = fields.text("output") or ""
        if output_tokens is None and not output:
            raise InvalidRecord("output_tokens", "it is missing")
        fields.time(*TIME_NAMES)
        return OwnRequest(record, text, messages, output_tokens, output, self._expectation(fields))

    def _read_group(self, record: DataRecord, fields: RecordFields) -> OwnRequest | None:
        """Return the request of a record that brings all its texts; None for one that has neither kind."""
        documents, texts = fields.texts("documents"), fields.texts("texts")
        if documents is None and texts is None:
            return None
        fields.time(*TIME_NAMES)
        if documents is None:
            text, *more = texts or ()
            return OwnRequest(record, text, None, output_tokens=1, group=BATCH, texts=tuple(more))
        query = fields.text("query")
        if not query:
            raise InvalidRecord("query", "it is missing, beside documents" if query is None else "it is empty")
        return OwnRequest(record, query, None, output_tokens=1, group=QUERY, texts=documents)

    def _expectation(self, fields: RecordFields) -> str:
        expect = fields.text("expect") or ""
        if expect:
            try:
                check_expectation("expect", expect)
            except ConfigError as error:
                raise InvalidRecord("expect", error.message.removeprefix("expect: ")) from error
        return expect

    def hint(self, field: str, record: DataRecord) -> str:
        if field == "prompt" and "prompt" not in record.values:
            if "input_length" in record.values:
                return "dataset=token_trace makes prompts of recorded lengths"
            if "conversations" in record.values:
                return "dataset=sharegpt, or dataset=ultrachat for whole conversations"
            return super().hint(field, record)
        return "dataset.output_tokens=128" if field in OUTPUT_TOKENS else ""


def _named(group: str | None) -> str:
    return {BATCH: "texts", QUERY: "a query and documents"}.get(group or "", "a prompt")
