"""The one reader of data files: from bytes of any common form to records, each with its place for error messages.

What a file holds is decided by its content, not by its name: JSON lines or a JSON array, Parquet, or CSV, plain or
compressed (gzip, bzip2, xz, zstd), with or without a byte order mark. Only CSV, which has no mark, goes by its name.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from benchhydra.errors import DatasetError

#: A longer line is refused: a file without line ends would otherwise be read into memory as a single record.
MAX_LINE_BYTES = 64 << 20
#: A larger JSON array is refused; JSON lines are read line by line and have no such limit.
MAX_ARRAY_BYTES = 4 << 30
#: The first character behind blanks tells an array from lines.
BEGINNING_BYTES = 4096
CSV_DELIMITERS = {".csv": ",", ".tsv": "\t"}
BOM = "\ufeff".encode()
PARQUET_MAGIC = b"PAR1"
#: The first bytes of files that cannot be read -> what they are, and what to type.
REFUSED_MAGIC = {
    b"PK\x03\x04": ("is a zip archive", "unzip it, and set dataset.path to the file inside"),
    b"\xff\xfe": ("is UTF-16", "iconv -f UTF-16 -t UTF-8 FILE > NEW_FILE"),
    b"\xfe\xff": ("is UTF-16", "iconv -f UTF-16 -t UTF-8 FILE > NEW_FILE"),
}


@dataclass(frozen=True, slots=True)
class DataRecord:
    """One record of a data file. line: from 1; None if the file has no lines. number: of the record, from 1.

    numbers_are_texts: the file's format has no numbers (CSV).
    """

    values: dict[str, Any]
    path: Path
    number: int
    line: int | None = None
    in_array: bool = False
    numbers_are_texts: bool = False

    @property
    def place(self) -> str:
        """Where the record is: ``prompts.jsonl:3``, ``talks.json:1 (record 7)`` or ``talks.parquet (record 7)``."""
        where = str(self.path) if self.line is None else f"{self.path}:{self.line}"
        return f"{where} (record {self.number})" if self.in_array or self.line is None else where


def check_regular_file(path: Path) -> None:
    """Raise DatasetError if the path is missing, a directory, a pipe or a device."""
    hint = "dataset.path=FILE, absolute or relative to the working directory"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise DatasetError(f"no such file: {path}", hint=hint) from error
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}", hint=hint) from error
    if stat.S_ISDIR(mode):
        raise DatasetError(f"{path} is a directory", hint=f"dataset.path={path}/FILE")
    if not stat.S_ISREG(mode):
        raise DatasetError(f"{path} is not a regular file but a pipe or a device: it can be read only once", hint=hint)


def read_data_file(path: Path) -> Iterator[DataRecord]:
    """Yield the records of a file. Raises DatasetError, which names the file and, where there is one, the line."""
    check_regular_file(path)
    try:
        yield from _records(path)
    except (OSError, EOFError, ValueError, zlib.error, _lzma_error()) as error:
        raise DatasetError(f"{path} cannot be read: {_reason(error)}") from error


def _lzma_error() -> type[Exception]:
    from lzma import LZMAError  # start-up time: the compression modules take 4 ms, and most loads need none

    return LZMAError


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]


def _records(path: Path) -> Iterator[DataRecord]:
    with _open(path) as stream:
        head = stream.read(8)
    if not head:
        raise DatasetError(f"{path} is empty")
    for magic, (what, hint) in REFUSED_MAGIC.items():
        if head.startswith(magic):
            raise DatasetError(f"{path} {what}, which cannot be read", hint=hint)
    delimiter = next((CSV_DELIMITERS[suffix] for suffix in path.suffixes if suffix in CSV_DELIMITERS), None)
    if head.startswith(PARQUET_MAGIC):
        yield from _parquet_records(path)
    elif delimiter is not None:
        yield from _csv_records(path, delimiter)
    else:
        yield from _json_records(path)


def _open(path: Path) -> IO[bytes]:
    """Open a file for reading its content, whatever it is compressed with."""
    with path.open("rb") as file:
        head = file.read(6)
    opener = next((opener for magic, opener in DECOMPRESSORS.items() if head.startswith(magic)), None)
    stream: IO[bytes] = path.open("rb") if opener is None else opener(path)
    return stream


def _opener(module: str) -> Callable[[Path], Any]:
    return lambda path: importlib.import_module(module).open(path)


def _open_zstd(path: Path) -> IO[bytes]:
    from benchhydra.arrow_columns import pa  # start-up time

    return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))


#: The first bytes of compressed files -> how they are opened.
DECOMPRESSORS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": _opener("gzip"),
    b"BZh": _opener("bz2"),
    b"\xfd7zXZ\x00": _opener("lzma"),
    b"\x28\xb5\x2f\xfd": _open_zstd,
}


def _parquet_records(path: Path) -> Iterator[DataRecord]:
    from benchhydra.arrow_columns import pa, pq  # start-up time

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches():
            for values in batch.to_pylist():
                number += 1
                yield DataRecord(values, path, number)
    except (pa.ArrowException, NotImplementedError) as error:
        raise DatasetError(f"{path} is damaged after record {number}: {_reason(error)}") from error


def _csv_records(path: Path, delimiter: str) -> Iterator[DataRecord]:
    with _open(path) as stream:
        csv.field_size_limit(MAX_LINE_BYTES)
        lines = (text for _, text in _text_lines(stream, path))
        reader = csv.DictReader(lines, delimiter=delimiter, restkey="", strict=True)
        try:
            for number, values in enumerate(reader, 1):
                values.pop("", None)
                yield DataRecord(values, path, number, reader.line_num, numbers_are_texts=True)
        except csv.Error as error:
            raise DatasetError(f"{path}:{reader.line_num} is not CSV: {error}") from error


def _json_records(path: Path) -> Iterator[DataRecord]:
    with _open(path) as stream:
        beginning = stream.read(BEGINNING_BYTES).removeprefix(BOM).lstrip()
    if beginning.startswith(b"["):
        yield from _array_records(_whole_text(path), path)
    elif beginning.partition(b"\n")[0].strip() == b"{":  # an object that goes on in the next line
        _refuse_object(_whole_text(path), path)
    else:
        yield from _line_records(path)


def _line_records(path: Path) -> Iterator[DataRecord]:
    record = 0
    with _open(path) as stream:
        for line, text in _text_lines(stream, path):
            if not text.strip():
                continue
            record += 1
            values = _parse(text, f"{path}:{line}")
            if not isinstance(values, dict):
                raise DatasetError(f"{path}:{line} is not a JSON object but {_kind(values)}")
            yield DataRecord(values, path, record, line)
    if not record:
        raise DatasetError(f"{path} holds nothing but blank lines")


def _array_records(text: str, path: Path) -> Iterator[DataRecord]:
    """Yield the objects of a JSON array, one after another, so that each has a line."""
    decode, position, line, counted, number = json.JSONDecoder().raw_decode, text.index("[") + 1, 1, 0, 0
    position = _skip_blanks(text, position)
    while text[position : position + 1] != "]":
        number += 1
        line, counted = line + text.count("\n", counted, position), position
        try:
            values, position = decode(text, position)
        except (ValueError, RecursionError) as error:
            _refuse_json(error, f"{path}:{_line_of(error, line)}")
        if not isinstance(values, dict):
            raise DatasetError(f"{path}:{line} (record {number}) is not a JSON object but {_kind(values)}")
        yield DataRecord(values, path, number, line, in_array=True)
        position = _skip_blanks(text, position)
        if text[position : position + 1] == ",":
            position = _skip_blanks(text, position + 1)
        elif text[position : position + 1] != "]":
            raise DatasetError(f"{path}:{line} is not JSON: the array is not continued after record {number}")
    rest = text[position + 1 :].strip()
    if rest:
        raise DatasetError(f"{path} is not JSON: text follows the end of the array: {rest[:20]!r}")
    if not number:
        raise DatasetError(f"{path} holds an empty array")


def _skip_blanks(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\n", "\r", "\t") and position < len(text):
        position += 1
    return position


def _line_of(error: BaseException, default: int) -> int:
    return int(getattr(error, "lineno", default))


def _refuse_object(text: str, path: Path) -> NoReturn:
    values = _parse(text, str(path))
    keys = ", ".join(map(repr, values)) if isinstance(values, dict) else ""
    raise DatasetError(
        f"{path} is a single JSON object with the keys {keys or '(none)'}, not a list of records"[:300],
        hint="write the records as JSON lines, or as one JSON array",
    )


def _parse(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        _refuse_json(error, place)


def _refuse_json(error: Exception, place: str) -> NoReturn:
    reason = str(error)
    if isinstance(error, RecursionError):
        reason = "it is nested too deeply"
    elif "integer string conversion" in reason:
        reason = "it holds a whole number of more than 4,300 digits"
    raise DatasetError(f"{place} is not JSON: {reason}") from error


def _kind(value: Any) -> str:
    names = {list: "an array", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _whole_text(path: Path) -> str:
    with _open(path) as stream:
        content = stream.read(MAX_ARRAY_BYTES + 1)
    if len(content) > MAX_ARRAY_BYTES:
        raise DatasetError(
            f"{path} is a JSON array of more than {MAX_ARRAY_BYTES >> 30} GiB", hint="write it as JSON lines"
        )
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        _refuse_bytes(error, path, content.count(b"\n", 0, error.start) + 1, 0)


def _text_lines(stream: IO[bytes], path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of each line of UTF-8, without a byte order mark."""
    number, offset = 0, 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise DatasetError(f"{path}:{number} is longer than {MAX_LINE_BYTES >> 20} MiB: is this a data file?")
        mark = len(BOM) if number == 1 and line.startswith(BOM) else 0
        try:
            text = line[mark:].decode("utf-8")
        except UnicodeDecodeError as error:
            _refuse_bytes(error, path, number, offset + mark)
        yield number, text
        offset += len(line)


def _refuse_bytes(error: UnicodeDecodeError, path: Path, line: int, offset: int) -> NoReturn:
    byte = error.object[error.start]
    raise DatasetError(
        f"{path}:{line} is not UTF-8: byte 0x{byte:02x} at position {offset + error.start} of the file",
        hint=f"iconv -f latin1 -t utf-8 {path} > NEW_FILE, if the file is in Latin-1",
    ) from error
