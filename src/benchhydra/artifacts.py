"""The files that runs and sweeps write: their names, atomic writing, and reading of JSON that may be broken."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchhydra.errors import ResultError

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
JOURNALS_DIR = ".groups"
FAILURES_FILE = "failures"
SWEEP_LOCK_FILE = "sweep.lock"
JOBS_LOCK_FILE = "jobs.lock"
SERVER_LOGS_DIR = "servers"

# The root of a tree of results.
INDEX_FILE = ".benchhydra-index"

# Other documents.
REPORT_FILE = "report.html"
AB_MARKDOWN_FILE = "ab.md"
AB_JSON_FILE = "ab.json"


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
    """Write a file atomically. ``durable``: also wait until it is on the disk (fsync). Raises OSError."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def write_json(path: Path, document: Mapping[str, Any], *, durable: bool = False) -> None:
    """Write a JSON object with ``write_atomic``. Raises ResultError if it contains NaN or cannot be written."""
    try:
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise ResultError(f"{path.name} must not contain NaN: {error}") from error
    try:
        write_atomic(path, text, durable=durable)
    except OSError as error:
        raise ResultError(
            f"cannot write {path}: {error.strerror}", hint="hydra.run.dir=DIR or hydra.sweep.dir=DIR moves the output"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises ResultError if it cannot be read, is not JSON or not an object."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, or not JSON
        raise ResultError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ResultError(f"{path} is not a JSON object")
    return document


def read_json_or_none(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file; None if it cannot be read."""
    try:
        return read_json(path)
    except ResultError:
        return None
