"""Records the outcome of each request: its row, its text if requested, and the client's own lateness."""

from __future__ import annotations

from array import array
from time import monotonic_ns

from benchhydra.client.apis import UNKNOWN_TOKENS
from benchhydra.client.connection import Connection
from benchhydra.client.response import Response
from benchhydra.loadgen.client_behaviour import TRIES
from benchhydra.loadgen.shards import Shard, ShardProgress
from benchhydra.records import Phase, Recorder, Records, Status
from benchhydra.redaction import protect, redact

_OK, _SHORT = int(Status.OK), int(Status.SHORT)  # constants, because reading an enum member is slow


class RowWriter:
    """The rows of one shard.

    ``progress`` counts them. The sender fills ``scheduled_ns`` (by row) and ``lags_ns`` (the client's own lateness of
    each request, in order of sending), and ``tries`` (by row), if failed requests are sent again.
    """

    def __init__(self, shard: Shard) -> None:
        count = len(shard.requests)
        self.progress = ShardProgress()
        self.lags_ns = array("f")
        self._recorder = recorder = Recorder(count)
        self.scheduled_ns = recorder.times["scheduled_ns"]
        self.statuses = recorder.counts["status"]
        recorder.counts["asked_prompt_tokens"] = shard.requests.prompt_tokens
        recorder.counts["asked_output_tokens"] = self._requested_tokens = shard.requests.output_tokens
        recorder.counts["phase"] = array("i", [Phase.MEASURED]) * count
        recorder.labels.update(shard.requests.labels)
        self._stream = shard.stream
        self._generates = shard.endpoint.api.generates
        self._full_length = shard.full_length
        self._asked_items = shard.requests.labels.get("items")
        self._reasoning = self._reasoning_labels(count) if shard.endpoint.api.separates_reasoning() else ()
        self._texts = [""] * count if shard.keep_text else []
        self._on_failure = shard.requests.failed
        self._on_text = shard.requests.answered if shard.requests.needs_texts else None
        self.tries = array("i", [0]) * count if shard.behaviour.retries else array("i")
        if shard.behaviour.retries:
            recorder.labels[TRIES] = self.tries
        protect(secrets_in(shard.endpoint.headers))  # servers repeat API keys in error messages

    def answered(self, connection: Connection, now_ns: int) -> None:
        """Record a request that was sent and has ended, successfully or not."""
        times, counts = self._recorder.times, self._recorder.counts
        row, response = connection.row, connection.response
        times["sent_ns"][row] = connection.sent_ns
        times["first_byte_ns"][row] = connection.first_byte_ns
        times["done_ns"][row] = now_ns
        if self._stream:
            times["first_ns"][row] = connection.first_ns
            times["last_ns"][row] = connection.last_ns
            self._recorder.add_gaps(row, connection.gaps_ns)
        elif response.status is None and self._generates:
            times["last_ns"][row] = now_ns
        counts["prompt_tokens"][row] = response.prompt_tokens
        counts["output_tokens"][row] = response.output_tokens
        counts["anomalies"][row] = response.anomalies
        if self._texts:
            self._texts[row] = response.text()
        if response.status is not None:
            self._failed(row, response.status, response.error)
            return
        if self._asked_items is not None and response.items != self._asked_items[row]:
            self._failed(
                row, Status.MALFORMED, f"{response.items} items in the answer, {self._asked_items[row]} asked for"
            )
            return
        if self._reasoning:
            chunks, tokens = self._reasoning
            chunks[row] = response.reasoning_chunks if response.answered else response.chunks
            tokens[row] = response.reasoning_tokens
        if self._on_text is not None:
            self._on_text(row, response.text())
        counts["status"][row] = _SHORT if self._full_length and self._is_short(response, row) else _OK
        progress = self.progress
        progress.done += 1
        if connection.first_ns >= 0:
            progress.ttft_sum_ns += connection.first_ns - connection.sent_ns
            progress.ttft_count += 1

    def _reasoning_labels(self, count: int) -> tuple[array[int], array[int]]:
        """Add the columns of reasoning: chunks before the answer's first, tokens by the server's usage."""
        columns = array("i", [UNKNOWN_TOKENS]) * count, array("i", [UNKNOWN_TOKENS]) * count
        self._recorder.labels |= zip(("reasoning_chunks", "reasoning_tokens"), columns, strict=True)
        return columns

    def never_sent(self, row: int, status: Status, text: str) -> None:
        """Record a request that never got a connection."""
        self._recorder.times["done_ns"][row] = monotonic_ns()
        self._failed(row, status, text)

    def not_sent_again(self, row: int, sent_ns: int, status: Status, text: str) -> None:
        """Record a request that ended while it waited for another try. sent_ns: when the first one was sent."""
        self._recorder.times["sent_ns"][row] = sent_ns
        self.never_sent(row, status, text)

    def records(self) -> Records:
        """Return the rows that were sent or failed, by scheduled time."""
        return self._recorder.records()

    def texts(self) -> tuple[str, ...]:
        """Return the generated texts by row; () without ``keep_text``."""
        return tuple(self._texts)

    def steady_prefix(self) -> Records:
        """Return the rows that have ended and were sent before the oldest one in flight, without their gaps."""
        return self._recorder.prefix()

    def _failed(self, row: int, status: Status, error: str) -> None:
        self.progress.done += 1
        self.progress.failed += status != Status.USER_CANCELLED
        self._recorder.error(row, status, redact(error))
        self._on_failure(row)

    def _is_short(self, response: Response, row: int) -> bool:
        """Return whether an answer has fewer tokens than requested; without usage, whether it has no text at all."""
        requested = self._requested_tokens[row]
        tokens = response.output_tokens
        return (tokens if tokens >= 0 else requested * bool(response.chunks)) < requested


def secrets_in(headers: dict[str, str]) -> set[str]:
    """Return header values, and their last words (the key after "Bearer"), of more than 3 characters."""
    words = {word for value in headers.values() for word in (value, value.rpartition(" ")[2])}
    return {word for word in words if len(word) > 3}
