"""The files that runs and sweeps write: their names, atomic writing without secrets, and reading what may be broken."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from benchhydra.errors import ResultError
from benchhydra.redaction import redact, redact_value

# One point's directory.
RESULT_FILE = "result.json"
CONFIG_FILE = "config.yaml"
RECORDS_FILE = "records.parquet"
SERIES_FILE = "series.parquet"
TEXTS_FILE = "texts.jsonl"
SERVER_LOG_FILE = "server.log"
MLFLOW_FILE = "mlflow.json"
#: The files of a point that the archive and the tracker copy.
POINT_FILES = (RESULT_FILE, CONFIG_FILE, RECORDS_FILE, SERIES_FILE, SERVER_LOG_FILE)

# One sweep's directory.
SWEEP_FILE = "sweep.json"
SUMMARY_MARKDOWN_FILE = "summary.md"
SUMMARY_CSV_FILE = "summary.csv"
ANSWERS_CSV_FILE = "answers.csv"
JOURNALS_DIR = ".groups"
FAILURES_FILE = "failures"
TRIALS_FILE = "trials.json"
SWEEP_LOCK_FILE = "sweep.lock"
JOBS_LOCK_FILE = "jobs.lock"
SERVER_LOGS_DIR = "servers"

# The root of a tree of results.
INDEX_FILE = ".benchhydra-index"

#: The deepest nesting of a JSON file that is read.
DEEPEST_JSON = 100
#: The most digits of a whole number in it: more than any count or seed has.
LONGEST_INTEGER = 40

# Other documents.
REPORT_FILE = "report.html"
AB_MARKDOWN_FILE = "ab.md"
AB_JSON_FILE = "ab.json"
BISECT_MARKDOWN_FILE = "bisect.md"
BISECT_JSON_FILE = "bisect.json"


T = TypeVar("T", covariant=True)


class JsonDecoder(Protocol[T]):
    """``msgspec.json.Decoder``, which this module does not import: it takes 10 ms."""

    def decode(self, data: bytes, /) -> T: ...


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path; at the end of the block it replaces ``path``, after an exception it is deleted.

    If two processes write the same file, the last one wins. Creates the directory if it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, data: str | bytes, *, durable: bool = False) -> None:
    """Write a file atomically, and a text without secrets. Raises OSError.

    ``durable``: also wait until it is on the disk (fsync).
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(redact(data).encode(errors="backslashreplace") if isinstance(data, str) else data)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def write_json(path: Path, document: Mapping[str, Any], *, durable: bool = False) -> None:
    """Write a JSON object atomically, without secrets. Raises ResultError if it has a NaN or cannot be written."""
    try:
        text = json.dumps(redact_value(document), indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise ResultError(f"{path.name} must not contain NaN: {error}") from error
    try:
        write_atomic(path, text.encode(), durable=durable)
    except OSError as error:
        raise ResultError(
            f"cannot write {path}: {error.strerror}", hint="hydra.run.dir=DIR or hydra.sweep.dir=DIR moves the output"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises ResultError, which names the file, if it cannot be read, is not JSON or not an object, is nested too deeply,
    or holds NaN, infinity, a number of thousands of digits, or half a character (a lone surrogate).
    """
    document = parse_json(read_bytes(path), path)
    if not isinstance(document, dict):
        raise ResultError(f"{path} is not a JSON object")
    return document


def read_bytes(path: Path) -> bytes:
    """Return the content of a file. Raises ResultError, which names the file, if it cannot be read."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise ResultError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def decode_json(path: Path, decoder: JsonDecoder[T]) -> T:
    """Return a JSON file as the structs of a decoder of msgspec, which is faster than ``read_json``.

    Raises ResultError, which names the file, if it cannot be read or does not match.
    """
    data = read_bytes(path)
    try:
        return decoder.decode(data)
    except RecursionError as error:
        raise ResultError(f"{path} is not JSON that can be read: it is nested too deeply") from error
    except ValueError as error:  # msgspec's errors, and bytes that are not UTF-8
        raise ResultError(f"{path} is not a benchhydra result: {error}") from error


def parse_json(data: str | bytes, path: Path) -> Any:
    """Return the value of a JSON text from outside. Raises ResultError, which names the file, as ``read_json`` does."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        document = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_bounded)
        _check_depth(document)
        if re.search(r"\\u[dD][89a-fA-F]", text):
            json.dumps(document, ensure_ascii=False).encode()  # refuses half a character
    except UnicodeDecodeError as error:
        raise ResultError(f"{path} is not JSON: byte {error.start} is not UTF-8") from error
    except UnicodeEncodeError as error:
        raise ResultError(f"{path} holds half a character ({error.object[error.start]!a})") from error
    except RecursionError as error:
        raise ResultError(f"{path} is not JSON that can be read: it is nested too deeply") from error
    except ValueError as error:
        raise ResultError(f"{path} is not JSON: {error}") from error
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _bounded(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        raise ValueError(f"a number of {len(text)} digits is too large")
    return int(text)


def _check_depth(document: Any) -> None:
    """Raise RecursionError for a document that the functions that walk through it could not."""
    level, depth = [document], 0
    while level:
        depth += 1
        if depth > DEEPEST_JSON:
            raise RecursionError
        level = [
            child
            for value in level
            if isinstance(value, (dict, list))
            for child in (value.values() if isinstance(value, dict) else value)
        ]


def read_json_or_none(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file; None if it cannot be read."""
    try:
        return read_json(path)
    except ResultError:
        return None
