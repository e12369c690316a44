"""Requests as rows of columns, in memory and in a Parquet file.

Times are int64 nanoseconds of CLOCK_MONOTONIC; -1 is "never". Gaps between chunks are float32 nanoseconds in one flat
array (24 bits of mantissa: a 10 ms gap is exact to 1 ns, one of 7 minutes to 32 us), so that a request of 200 chunks
takes under 1 kB.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchhydra.errors import ResultError
from benchhydra.redaction import excerpt, redact

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

NEVER = -1
#: The label of a request, and of its row, that says which adapter (LoRA) it asks for.
ADAPTER = "adapter"
_BLOCK_ROWS = 2048


class Status(IntEnum):
    """How a request ended. OK and SHORT completed; all others except the two kinds of CANCELLED failed."""

    OK = 0
    SHORT = 1  # a whole answer with fewer tokens than were asked for with ignore_eos
    TIMEOUT = 2
    REFUSED = 3  # no connection
    RESET = 4  # the connection broke during the request
    HTTP_4XX = 5
    HTTP_5XX = 6
    MALFORMED = 7  # the answer is not valid HTTP, SSE or JSON
    ERROR_EVENT = 8  # 200, then an error object in the stream
    EARLY_END = 9  # the stream ended without finish_reason and without [DONE]
    CANCELLED = 10  # the run was interrupted during the request, or its client process was lost
    EMPTY = 11  # 200 and a complete answer without any text
    ABORTED = 12  # the finish_reason is abort, error or anything else that is not a normal end
    OTHER_MODEL = 13  # the answer names another model than the one that was asked for
    CLIENT_LIMIT = 14  # a limit of this machine: file descriptors, ports, buffers, memory
    USER_CANCELLED = 15  # the client closed the connection on purpose, as a user who stops an answer (load.cancel_*)


class Anomaly(IntFlag):
    """What is odd about a complete answer; bits of the column ``anomalies``."""

    SEVERAL_CHOICES = 1  # the answer has more than one choice, so the times of its chunks are mixed
    TOTAL_DIFFERS = 2  # the counts of ``usage`` contradict each other: total_tokens is not prompt + completion
    IMPOSSIBLE_USAGE = 4  # ``usage`` has counts that are negative, not whole or above 2**31 - 1
    REPEATED = 8  # text came again after the answer's end
    BLANK = 16  # tokens were generated, but their text is empty (special tokens) or white space
    INVALID_OUTPUT = 32  # the text does not match the schema, regex or choice that was asked for
    WRONG_TOOL_CALL = 64  # a call of a tool that was not offered, or with arguments that do not fit it
    EQUAL_ITEMS = 256  # two vectors of an answer, or all of its scores, are equal
    UNSORTED = 512  # the ranked documents are not in the order of their scores


class Phase(IntEnum):
    """Which part of the load a request belongs to; metrics are computed over MEASURED rows."""

    MEASURED = 0
    WARMUP = 1
    COOLDOWN = 2


TIMES = ("scheduled_ns", "sent_ns", "first_byte_ns", "first_ns", "last_ns", "done_ns")
COUNTS = (
    *("asked_prompt_tokens", "asked_output_tokens", "prompt_tokens", "output_tokens"),
    *("status", "error", "phase", "anomalies"),
)
#: The value of a count in a row that does not say otherwise, and in files written before the column existed.
_DEFAULTS = {"anomalies": 0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Records:
    """Columns of n requests, in order of their scheduled time.

    scheduled_ns: send time according to the load shape; sent_ns: when the bytes were written to the socket;
    first_byte_ns: first byte of the answer; first_ns / last_ns: first and last chunk with text (of two chunks or more,
    last_ns is the finish reason if that comes later); done_ns: end of the answer or of the attempt.
    ``gaps_ns[gap_offsets[i]:gap_offsets[i + 1]]`` are the gaps between successive chunks of row i. ``error`` indexes
    ``errors`` (-1: none). prompt_tokens and output_tokens are the server's ``usage`` (-1: not reported).
    ``anomalies``: bits of ``Anomaly``. ``labels``: further columns by name, shape (n,), that only some loads have: to
    which group a request belongs (adapter, priority), or what is known of its answer (correct, tries); -1: unknown.
    """

    scheduled_ns: Int64
    sent_ns: Int64
    first_byte_ns: Int64
    first_ns: Int64
    last_ns: Int64
    done_ns: Int64
    asked_prompt_tokens: Int32
    asked_output_tokens: Int32
    prompt_tokens: Int32
    output_tokens: Int32
    status: Int32
    error: Int32
    phase: Int32
    anomalies: Int32
    gaps_ns: Float32
    gap_offsets: Int64
    errors: tuple[str, ...] = ()
    labels: Mapping[str, Int32] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sent_ns)

    @property
    def completed(self) -> Mask:
        """Mask of the rows with a whole answer, shape (n,)."""
        return np.asarray(self.status <= Status.SHORT)

    @property
    def failed(self) -> Mask:
        """Mask of the rows that failed, shape (n,). Cancelled requests did not fail."""
        return np.asarray((self.status > Status.SHORT) & ~self.cancelled)

    @property
    def cancelled(self) -> Mask:
        """Mask of the rows that were cancelled, on purpose or by an interruption, shape (n,)."""
        return np.asarray((self.status == Status.CANCELLED) | (self.status == Status.USER_CANCELLED))

    @property
    def chunks(self) -> Int64:
        """Number of chunks with text of each row, shape (n,); 0 for answers that were not streamed."""
        return np.where(self.first_ns >= 0, np.diff(self.gap_offsets) + 1, 0)

    def has(self, anomaly: Anomaly) -> Mask:
        """Return the mask of the rows with an anomaly, shape (n,)."""
        return np.asarray((self.anomalies & anomaly) != 0)

    @property
    def decode_steps(self) -> Float64:
        """Output tokens after the first, shape (n,): TPOT divides the time from first to last chunk by this.

        NaN if there is no time between tokens: fewer than two tokens, an unknown number, or all of them in one chunk.
        """
        return np.where((self.output_tokens > 1) & (self.last_ns > self.first_ns), self.output_tokens - 1, np.nan)

    def where(self, mask: Mask) -> Records:
        """Return the rows of a mask of shape (n,), with their gaps; ``self`` if all are True."""
        if mask.all():
            return self
        counts = np.diff(self.gap_offsets)
        columns = {name: getattr(self, name)[mask] for name in TIMES + COUNTS}
        offsets = np.concatenate(([0], np.cumsum(counts[mask]))).astype(np.int64)
        return Records(
            **columns,
            gaps_ns=self.gaps_ns[np.repeat(mask, counts)],
            gap_offsets=offsets,
            errors=self.errors,
            labels={name: values[mask] for name, values in self.labels.items()},
        )

    def blocks(self) -> Iterator[Records]:
        """Yield the rows in parts of ``_BLOCK_ROWS``, which share their memory with these.

        For calculations over gaps, whose temporary arrays would take several times the memory of all gaps.
        """
        for start in range(0, len(self), _BLOCK_ROWS):
            offsets = self.gap_offsets[start : start + _BLOCK_ROWS + 1]
            columns = {name: getattr(self, name)[start : start + _BLOCK_ROWS] for name in TIMES + COUNTS}
            labels = {name: values[start : start + _BLOCK_ROWS] for name, values in self.labels.items()}
            gaps_ns = self.gaps_ns[offsets[0] : offsets[-1]]
            yield Records(
                **columns, gaps_ns=gaps_ns, gap_offsets=offsets - offsets[0], errors=self.errors, labels=labels
            )

    def measured(self) -> Records:
        """Return the rows of the measured window."""
        return self.where(np.asarray(self.phase == Phase.MEASURED))

    def failures(self) -> dict[str, int]:
        """Return the number of rows by status other than OK, in lower case: ``{"timeout": 3}``."""
        values, counts = np.unique(self.status[self.status != Status.OK], return_counts=True)
        return {Status(int(v)).name.lower(): int(c) for v, c in zip(values, counts, strict=True)}

    @classmethod
    def of_spans(
        cls,
        sent_ns: Sequence[int],
        done_ns: Sequence[int],
        *,
        prompt_tokens: Sequence[int] | None = None,
        output_tokens: Sequence[int] | None = None,
    ) -> Records:
        """Return completed rows that have only a start, an end and, if given, token counts."""
        n = len(sent_ns)
        sent, never = np.array(sent_ns, dtype=np.int64), np.full(n, NEVER, dtype=np.int64)
        none = np.full(n, NEVER, dtype=np.int32)
        prompt, output = (none if t is None else np.array(t, dtype=np.int32) for t in (prompt_tokens, output_tokens))
        return cls(
            scheduled_ns=sent,
            sent_ns=sent,
            first_byte_ns=never,
            first_ns=never,
            last_ns=never,
            done_ns=np.array(done_ns, dtype=np.int64),
            asked_prompt_tokens=none,
            asked_output_tokens=none,
            prompt_tokens=prompt,
            output_tokens=output,
            status=np.full(n, Status.OK, dtype=np.int32),
            error=none,
            phase=np.full(n, Phase.MEASURED, dtype=np.int32),
            anomalies=np.zeros(n, dtype=np.int32),
            gaps_ns=np.zeros(0, dtype=np.float32),
            gap_offsets=np.zeros(n + 1, dtype=np.int64),
        )

    def write(self, path: Path) -> None:
        """Write as Parquet: one row per request; ``gaps_ns`` is a list column, ``error`` the error's text."""
        from benchhydra.arrow_columns import number_array, pa, write_parquet  # start-up time

        columns: dict[str, Any] = {
            name: number_array(getattr(self, name)) for name in TIMES + COUNTS if name != "error"
        }
        columns |= {name: number_array(values) for name, values in self.labels.items()}
        columns["gaps_ns"] = pa.ListArray.from_arrays(
            number_array(self.gap_offsets.astype(np.int32)), number_array(self.gaps_ns)
        )
        columns["error"] = self._error_texts()
        # values of times and gaps rarely repeat, so a dictionary would only cost memory
        write_parquet(columns, path, row_group_size=_BLOCK_ROWS, use_dictionary=["status", "error"])

    def _error_texts(self) -> Any:
        from benchhydra.arrow_columns import pa  # start-up time

        texts = [redact(text).encode(errors="replace") for text in self.errors] + [
            b""
        ]  # index -1 (no error) is the last one
        sizes = np.array([len(text) for text in texts], dtype=np.int32)[self.error]
        ends = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
        valid_bits = np.packbits(self.error >= 0, bitorder="little")
        data = b"".join(texts[i] for i in self.error[self.error >= 0])
        return pa.StringArray.from_buffers(
            len(self), pa.py_buffer(ends.tobytes()), pa.py_buffer(data), pa.py_buffer(valid_bits.tobytes())
        )

    @classmethod
    def read(cls, path: Path) -> Records:
        """Read a file that ``write`` wrote, also one of a version that lacked a column of ``_DEFAULTS``.

        Raises ResultError, which names the file, if it cannot be read or is damaged.
        """
        from benchhydra.arrow_columns import pa, pq  # start-up time

        try:
            return cls._of_table(pq.read_table(path))
        except (OSError, KeyError, ValueError, TypeError, AttributeError, pa.ArrowException) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ResultError(f"cannot read {path} as rows of requests: {excerpt(reason, 200)}") from error

    @classmethod
    def _of_table(cls, table: Any) -> Records:
        present = [name for name in TIMES + COUNTS if name != "error" and name in table.column_names]
        columns = {name: table[name].to_numpy().copy() for name in present}
        absent = {name: value for name, value in _DEFAULTS.items() if name not in columns}
        columns |= {name: np.full(len(table), value, dtype=np.int32) for name, value in absent.items()}
        texts = table["error"].to_pylist()
        errors = tuple(dict.fromkeys(text for text in texts if text is not None))
        index = {text: i for i, text in enumerate(errors)}
        gaps = table["gaps_ns"].combine_chunks()
        offsets = gaps.offsets.to_numpy().astype(np.int64)
        if not set(np.unique(columns["status"]).tolist()) <= {*Status}:
            raise ValueError("a status is unknown")
        return cls(
            **columns,
            error=np.array([index.get(text, NEVER) for text in texts], dtype=np.int32),
            gaps_ns=gaps.flatten().to_numpy().copy(),
            gap_offsets=offsets - offsets[0] if len(offsets) else np.zeros(1, np.int64),
            errors=errors,
            labels=_labels_of_table(table),
        )

    @classmethod
    def concat(cls, parts: list[Records]) -> Records:
        """Return the rows of all ``parts``, ordered by scheduled time. Raises ValueError if there are none."""
        if not parts:
            raise ValueError("no records to concatenate")
        errors = tuple(dict.fromkeys(text for part in parts for text in part.errors))
        index = {text: i for i, text in enumerate(errors)}
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in TIMES + COUNTS}
        columns["error"] = np.concatenate([_renumber(part, index) for part in parts])
        order = np.argsort(columns["scheduled_ns"], kind="stable")
        counts = np.concatenate([np.diff(part.gap_offsets) for part in parts])
        starts = np.concatenate(([0], np.cumsum(counts)))[:-1]
        gaps = np.concatenate([part.gaps_ns for part in parts])
        return cls(
            **{name: column[order] for name, column in columns.items()},
            gaps_ns=_gathered(gaps, starts[order], counts[order]),
            gap_offsets=np.concatenate(([0], np.cumsum(counts[order]))).astype(np.int64),
            errors=errors,
            labels={name: values[order] for name, values in _concat_labels(parts).items()},
        )


def _labels_of_table(table: Any) -> dict[str, Int32]:
    """Return the columns of a table of requests that ``Records`` does not name."""
    from benchhydra.arrow_columns import pa  # start-up time

    named = {*TIMES, *COUNTS, "gaps_ns"}
    names = [field.name for field in table.schema if field.name not in named and field.type == pa.int32()]
    return {name: table[name].to_numpy().copy() for name in names}


def _concat_labels(parts: Sequence[Records]) -> dict[str, Int32]:
    names = dict.fromkeys(name for part in parts for name in part.labels)
    absent = [np.full(len(part), NEVER, dtype=np.int32) for part in parts] if names else []
    return {
        name: np.concatenate([part.labels.get(name, never) for part, never in zip(parts, absent, strict=True)])
        for name in names
    }


def _renumber(part: Records, index: dict[str, int]) -> Int32:
    table = np.array([index[text] for text in part.errors] + [NEVER], dtype=np.int32)
    return np.asarray(table[part.error])


def _gathered(gaps_ns: Float32, starts: Int64, counts: Int64) -> Float32:
    """Return the gaps of rows, row after row. Works in blocks, because indices need twice the memory of gaps."""
    blocks = [slice(at, at + _BLOCK_ROWS) for at in range(0, len(starts), _BLOCK_ROWS)]
    parts = [gaps_ns[_ranges(starts[block], counts[block])] for block in blocks]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _ranges(starts: Int64, counts: Int64) -> Int64:
    """Return the indices start, ..., start + count - 1 for each (start, count), concatenated."""
    ends = np.cumsum(counts)
    return np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)


class Recorder:
    """The rows of a load while it runs, by index: plain arrays, no object per row or token."""

    def __init__(self, count: int) -> None:
        self.times = {name: array("q", [NEVER]) * count for name in TIMES}
        self.counts = {name: array("i", [_DEFAULTS.get(name, NEVER)]) * count for name in COUNTS}
        self.gap_start = array("q", [0]) * count
        self.gap_count = array("i", [0]) * count
        self.gaps_ns = array("f")
        self.labels: dict[str, array[int]] = {}
        self._errors: dict[str, int] = {}

    def error(self, row: int, status: Status, text: str) -> None:
        """Set a row's status and its error text."""
        self.counts["status"][row] = status
        self.counts["error"][row] = self._errors.setdefault(text, len(self._errors))

    def add_gaps(self, row: int, gaps_ns: array[float]) -> None:
        """Add the gaps between the chunks of a row. Call it once per row, when the row ends."""
        self.gap_start[row] = len(self.gaps_ns)
        self.gap_count[row] = len(gaps_ns)
        self.gaps_ns.extend(gaps_ns)

    def prefix(self) -> Records:
        """Return the rows that were scheduled before the oldest one that has not ended, without their gaps.

        Of the rows scheduled later, the fast ones have ended first: they are no fair sample.
        """
        columns: dict[str, Any] = {
            name: np.array(column) for name, column in (*self.times.items(), *self.counts.items())
        }
        scheduled_ns, ended = columns["scheduled_ns"], columns["status"] != NEVER
        in_flight = (scheduled_ns >= 0) & ~ended
        oldest_ns = scheduled_ns[in_flight].min() if in_flight.any() else np.iinfo(np.int64).max
        rows = np.flatnonzero(ended & (scheduled_ns < oldest_ns))
        return Records(
            **{name: column[rows] for name, column in columns.items()},
            gaps_ns=np.zeros(0, dtype=np.float32),
            gap_offsets=np.zeros(len(rows) + 1, dtype=np.int64),
            errors=tuple(self._errors),
        )

    def records(self) -> Records:
        """Return the rows that were sent or failed, by scheduled time; rows without a status are left out."""
        columns: dict[str, Any] = {name: np.array(column) for name, column in self.times.items()}
        columns |= {name: np.array(column) for name, column in self.counts.items()}
        started = columns["status"] != NEVER
        order = np.flatnonzero(started)[np.argsort(columns["scheduled_ns"][started], kind="stable")]
        starts, counts = np.array(self.gap_start)[order], np.array(self.gap_count, dtype=np.int64)[order]
        gaps = np.array(self.gaps_ns, dtype=np.float32)
        return Records(
            **{name: column[order] for name, column in columns.items()},
            gaps_ns=_gathered(gaps, starts, counts),
            gap_offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            errors=tuple(self._errors),
            labels={name: np.array(column, dtype=np.int32)[order] for name, column in self.labels.items()},
        )
