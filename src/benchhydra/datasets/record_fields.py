"""Reads the fields of a data record: texts, numbers, times and conversations, each with its range checked.

A field that cannot be used raises ``InvalidRecord`` with the field's name and what is wrong with it; the dataset
decides whether that ends the run or leaves the record out.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchhydra.datasets import MAX_TOKENS, Message
from benchhydra.datasets.data_file import DataRecord
from benchhydra.errors import ConfigError

#: The roles of ShareGPT and of older files -> OpenAI's.
ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "model"), "assistant"),
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "function": "function",
}
#: Keys of a turn's role and content: OpenAI's, and ShareGPT's.
TURN_KEYS = (("role", "content"), ("from", "value"))
#: Keys of OpenAI's messages that are sent as they are.
MESSAGE_KEYS = ("name", "tool_calls", "tool_call_id", "function_call", "refusal", "reasoning_content")
#: Longest text of a value in an error message.
SHOWN_CHARACTERS = 40


class InvalidRecord(Exception):
    """A record that cannot be used. field: its name in the file; reason: what is wrong, to follow "has"."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


class RecordFields:
    """The fields of one record under this program's names.

    columns: our field -> the file's column, as configured. Raises InvalidRecord if such a column is missing.
    """

    def __init__(self, record: DataRecord, columns: Mapping[str, str]) -> None:
        self._record, self._columns = record, columns
        for field, column in columns.items():
            if column not in record.values:
                raise InvalidRecord(field, f"there is no column {column!r}, only {self.column_names()}")

    def column_names(self) -> str:
        """Return the names of the record's columns, for a message."""
        return column_names(self._record)

    def find(self, *names: str) -> tuple[str, Any]:
        """Return (column, value) of the first of the names that is not absent or null; (first column, None) if none is.

        A configured column takes the place of all names of its field, which is the first of ``names``.
        """
        if names[0] in self._columns:
            column = self._columns[names[0]]
            return column, self._record.values[column]
        for name in names:
            if self._record.values.get(name) is not None:
                return name, self._record.values[name]
        return names[0], None

    def text(self, *names: str) -> str | None:
        """Return a text; None if the record has none under these names."""
        name, value = self.find(*names)
        return None if value is None else checked_text(name, value)

    def texts(self, *names: str) -> tuple[str, ...] | None:
        """Return a list of texts; None if the record has none under these names."""
        name, value = self.find(*names)
        if value is None:
            return None
        if not isinstance(value, list) or not value:
            raise InvalidRecord(name, f"{describe_value(value)} is not a list of texts")
        return tuple(_full_text(f"{name}[{index}]", text) for index, text in enumerate(value))

    def tokens(self, *names: str) -> int | None:
        """Return a number of tokens, from 1 to ``MAX_TOKENS``; None if the record has none under these names."""
        name, value = self.find(*names)
        if value is None:
            return None
        if self._record.numbers_are_texts and isinstance(value, str) and value.strip().isdecimal():
            value = int(value.strip()[:20])
        if type(value) is not int or value < 1:
            raise InvalidRecord(name, f"{describe_value(value)} is not a whole number above 0")
        if value > MAX_TOKENS:
            raise InvalidRecord(name, f"{describe_value(value)} is above {MAX_TOKENS}, the largest number of tokens")
        return value

    def time(self, *names: str) -> tuple[str, float, bool] | None:
        """Return (column, time, whether it is a number in a unit of the file's); a date becomes seconds since 1970.

        None if the record has no time under these names.
        """
        name, value = self.find(*names)
        if value is None:
            return None
        if self._record.numbers_are_texts and isinstance(value, str):
            value = _number_or_text(value)
        if isinstance(value, datetime.datetime):
            return name, _in_utc(value).timestamp(), False
        if isinstance(value, str):
            return name, _date_s(name, value), False
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidRecord(name, f"the send time {describe_value(value)} is neither a number nor a date")
        if not math.isfinite(_as_float(value)):
            raise InvalidRecord(name, f"the send time {describe_value(value)} is not finite")
        return name, float(value), True

    def messages(self, *names: str) -> tuple[Message, ...] | None:
        """Return the messages of a conversation in OpenAI's form; None if the record has none under these names.

        Turns may be in OpenAI's or in ShareGPT's form. Content parts and tool calls stay as they are.
        """
        name, turns = self.find(*names)
        if turns is None:
            return None
        if not isinstance(turns, list) or not turns:
            raise InvalidRecord(name, f"{describe_value(turns)} is not a list of messages")
        return tuple(_message(f"{name}[{index}]", turn) for index, turn in enumerate(turns))


def column_names(record: DataRecord) -> str:
    """Return the names of a record's columns, for a message: escaped, and not too many."""
    return ascii(", ".join(map(str, record.values))[:200])[1:-1] or "(none)"


def check_columns(columns: Mapping[str, str], fields: Sequence[str]) -> None:
    """Raise ConfigError if ``dataset.columns`` names a field that the dataset does not have."""
    for field, column in columns.items():
        if field not in fields:
            raise ConfigError(
                f"dataset.columns.{field}: this dataset has no field {field!r}",
                hint=f"dataset.columns.{fields[0]}=COLUMN; the fields are {', '.join(fields)}",
            )
        if not isinstance(column, str) or not column:
            raise ConfigError(f"dataset.columns.{field}={column!r} is not the name of a column")


def checked_text(name: str, value: Any) -> str:
    """Return a value that is a text. Raises InvalidRecord for other types, and for text that is not valid Unicode."""
    if not isinstance(value, str):
        raise InvalidRecord(name, f"{describe_value(value)} is not a text")
    try:
        if not value.isascii():
            value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidRecord(
            name, f"a lone surrogate (\\u{ord(value[error.start]):04x}) at character {error.start}"
        ) from error
    return value


def _full_text(name: str, value: Any) -> str:
    text = checked_text(name, value)
    if not text:
        raise InvalidRecord(name, "it is empty")
    return text


def describe_value(value: Any) -> str:
    """Return a value for a message: escaped, and short. Lists and objects are only named."""
    if isinstance(value, list | dict):
        return ("a list" if isinstance(value, list) else "an object") + ("" if value else " without entries")
    text = ascii(value[:SHOWN_CHARACTERS] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _number_or_text(value: str) -> float | int | str:
    for convert in (int, float):
        try:
            return convert(value)
        except ValueError:
            continue
    return value


def _date_s(name: str, value: str) -> float:
    try:
        return _in_utc(datetime.datetime.fromisoformat(value.strip())).timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidRecord(name, f"the send time {describe_value(value)} is neither a number nor a date") from error


def _in_utc(moment: datetime.datetime) -> datetime.datetime:
    """Return a moment with its zone; UTC if it has none."""
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _message(name: str, turn: Any) -> Message:
    if not isinstance(turn, dict):
        raise InvalidRecord(name, f"{describe_value(turn)} is not a message with a role and a content")
    role_key, content_key = next((keys for keys in TURN_KEYS if keys[0] in turn), TURN_KEYS[0])
    role = turn.get(role_key)
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise InvalidRecord(f"{name}.{role_key}", f"{describe_value(role)} is not a role")
    extra_fields = {key: _json_value(f"{name}.{key}", turn[key]) for key in MESSAGE_KEYS if turn.get(key) is not None}
    content = turn.get(content_key)
    if content is None and ("tool_calls" in extra_fields or "function_call" in extra_fields):
        return {"role": ROLES[role.lower()], "content": None, **extra_fields}
    if isinstance(content, list):
        return {"role": ROLES[role.lower()], "content": _parts(f"{name}.{content_key}", content), **extra_fields}
    return {"role": ROLES[role.lower()], "content": checked_text(f"{name}.{content_key}", content), **extra_fields}


def _parts(name: str, parts: Sequence[Any]) -> list[dict[str, str]]:
    """Return a content of parts; only parts of text, because the tokens of others cannot be counted here."""
    text_parts = []
    for index, part in enumerate(parts):
        if not isinstance(part, dict) or part.get("type") not in ("text", "input_text"):
            kind = part.get("type") if isinstance(part, dict) else part
            raise InvalidRecord(
                f"{name}[{index}]", f"{describe_value(kind)} is not a part of text: its tokens are not known"
            )
        text_parts.append({"type": "text", "text": checked_text(f"{name}[{index}].text", part.get("text"))})
    if not text_parts:
        raise InvalidRecord(name, "an empty list of parts")
    return text_parts


def _json_value(name: str, value: Any) -> Any:
    """Return a value that can be sent as JSON. Raises InvalidRecord for lone surrogates and for NaN."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, TypeError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        raise InvalidRecord(name, "a value that cannot be sent as JSON") from error
    return value
