"""Writes down what became of each request: a row, its text on request, and how late the client itself was."""

from __future__ import annotations

from array import array
from time import monotonic_ns

from benchhydra.client.connection import Connection
from benchhydra.loadgen.shards import Shard, ShardProgress
from benchhydra.records import Phase, Recorder, Records, Status


class RowWriter:
    """The rows of one shard. ``progress`` counts them; ``lags_ns``: the client's own lateness, by request sent."""

    def __init__(self, shard: Shard) -> None:
        count = len(shard.requests)
        self.progress = ShardProgress()
        self.lags_ns = array("f")
        self._recorder = recorder = Recorder(count)
        recorder.counts["asked_prompt_tokens"] = shard.requests.prompt_tokens
        recorder.counts["asked_output_tokens"] = self._asked_tokens = shard.requests.output_tokens
        recorder.counts["phase"] = array("i", [Phase.MEASURED]) * count
        self._stream = shard.stream
        self._generates = shard.endpoint.api.generates
        self._full_length = shard.full_length
        self._texts = [""] * count if shard.keep_text else []
        self._secrets = sorted(secrets_in(shard.endpoint.headers), key=len, reverse=True)

    def sent(self, row: int, scheduled_ns: int) -> None:
        """A request is about to be sent."""
        self._recorder.times["scheduled_ns"][row] = scheduled_ns

    def answered(self, connection: Connection, now_ns: int) -> None:
        """A request that was sent has ended, well or not."""
        times, counts = self._recorder.times, self._recorder.counts
        row, answer = connection.row, connection.answer
        times["sent_ns"][row] = connection.sent_ns
        times["first_byte_ns"][row] = connection.first_byte_ns
        if self._stream:
            times["first_ns"][row] = connection.first_ns
            times["last_ns"][row] = connection.last_ns
            self._recorder.add_gaps(row, connection.gaps_ns)
        elif answer.status is None and self._generates:
            times["last_ns"][row] = now_ns
        counts["prompt_tokens"][row] = answer.prompt_tokens
        counts["output_tokens"][row] = answer.output_tokens
        if self._texts:
            self._texts[row] = "".join(answer.texts)
        if answer.status is not None:
            self._end(row, now_ns, answer.status, answer.error)
            return
        self._end(row, now_ns, Status.SHORT if self._is_short(connection, row) else Status.OK)
        if connection.first_ns >= 0:
            self.progress.ttft_sum_ns += connection.first_ns - connection.sent_ns
            self.progress.ttft_count += 1

    def never_sent(self, row: int, status: Status, text: str) -> None:
        """A request that never got a connection."""
        self._end(row, monotonic_ns(), status, text)

    def records(self) -> Records:
        """The rows that were sent or failed, by scheduled time."""
        return self._recorder.records()

    def texts(self) -> tuple[str, ...]:
        """The generated texts by row, with ``keep_text``."""
        return tuple(self._texts)

    def _end(self, row: int, now_ns: int, status: Status, error: str = "") -> None:
        recorder, progress = self._recorder, self.progress
        recorder.times["done_ns"][row] = now_ns
        progress.done += 1
        if status > Status.SHORT:
            progress.failed += 1
            recorder.error(row, status, self._without_secrets(error))
        else:
            recorder.counts["status"][row] = status

    def _is_short(self, connection: Connection, row: int) -> bool:
        """Fewer tokens than asked for. Without usage only an answer without any text is known to be short."""
        answer, asked = connection.answer, self._asked_tokens[row]
        tokens = answer.output_tokens if answer.output_tokens >= 0 else asked * bool(answer.chunks)
        return self._full_length and tokens < asked

    def _without_secrets(self, text: str) -> str:
        """Servers repeat keys in their error messages."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def secrets_in(headers: dict[str, str]) -> set[str]:
    """The values of headers, and their last words (a key after "Bearer"), that are long enough to be a secret."""
    words = {word for value in headers.values() for word in (value, value.rpartition(" ")[2])}
    return {word for word in words if len(word) > 3}
