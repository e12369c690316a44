"""The documents in another tool's result file: a JSON value, JSON lines, or YAML, plain or with gzip.

Other tools write NaN and infinity, which ``artifacts.read_json`` refuses: here they are read, and importers leave them
out.
"""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import yaml

from benchhydra.artifacts import read_bytes
from benchhydra.errors import ResultError

YAML_SUFFIXES = (".yaml", ".yml")
#: A larger file holds the requests of a run, which are not read.
MAX_FILE_BYTES = 512 << 20


def read_documents(path: Path) -> list[Any]:
    """Return the values in a file: one, those of a list, or one a line. Raises ResultError, which names the file."""
    text = _text(path)
    if path.suffix in YAML_SUFFIXES:
        document = _parse_yaml(text, path)
    else:
        try:
            document = json.loads(text)
        except json.JSONDecodeError:
            return _json_lines(text, path)
        except (RecursionError, ValueError) as error:
            raise ResultError(f"{path} is not JSON that can be read: {_reason(error)}") from error
    return document if isinstance(document, list) else [document]


def _text(path: Path) -> str:
    data = read_bytes(path)
    if data.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path) as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ResultError(f"cannot read {path}: {error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ResultError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB: is it a result file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ResultError(f"cannot read {path}: byte {error.start} is not UTF-8") from error


def _parse_yaml(text: str, path: Path) -> Any:
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.CSafeLoader)):
            raise yaml.YAMLError("it has aliases, and nested ones make a short file grow without bound")
        return yaml.load(text, yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ResultError(f"{path} is not YAML that can be read: {_reason(error)}") from error


def _json_lines(text: str, path: Path) -> list[Any]:
    documents = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            documents.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ResultError(f"{path}:{number}: neither JSON nor one JSON object a line: {error}") from error
        except (RecursionError, ValueError) as error:
            raise ResultError(f"{path}:{number}: not JSON that can be read: {_reason(error)}") from error
    if not documents:
        raise ResultError(f"{path} is empty")
    return documents


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return " ".join(str(error).split())[:200]
