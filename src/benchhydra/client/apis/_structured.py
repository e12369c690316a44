"""Structured output: answers that must match a JSON schema, a regular expression, or one of several texts.

What is asked for goes into the body, and each answer is checked after the load: a server that ignores the constraint is
faster than one that obeys it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from benchhydra.errors import ConfigError

#: ``api.json_schema=example``.
EXAMPLE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 24},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "colour": {"enum": ["red", "green", "blue"]},
    },
    "required": ["name", "age", "colour"],
    "additionalProperties": False,
}
EXAMPLE = "example"


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """What answers must match; at most one of the three is set."""

    schema: Mapping[str, Any] | None = None
    regex: str | None = None
    choice: Sequence[str] = field(default=())

    @classmethod
    def of(cls, schema_file: str | None, regex: str | None, choice: Sequence[str]) -> Constraint | None:
        """Return the constraint of an API's keys; None without one. Raises ConfigError."""
        given = [name for name, value in (("json_schema", schema_file), ("regex", regex), ("choice", choice)) if value]
        if len(given) > 1:
            raise ConfigError(f"api.{given[0]} and api.{given[1]} exclude each other")
        if not given:
            return None
        _check_regex(regex)
        return cls(schema=None if schema_file is None else read_schema(schema_file), regex=regex, choice=tuple(choice))

    def body(self) -> dict[str, Any]:
        """Return the fields of the body that ask for it: OpenAI's for a schema, vLLM's for the others."""
        if self.schema is not None:
            schema = {"name": "answer", "schema": self.schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        key, value = ("regex", self.regex) if self.regex is not None else ("choice", list(self.choice))
        return {"structured_outputs": {key: value}}

    def matches(self, text: str) -> bool:
        """Return whether an answer matches. White space around it does not count."""
        text = text.strip()
        if self.schema is not None:
            return matches_schema(text, self.schema)
        return re.fullmatch(self.regex, text) is not None if self.regex is not None else text in self.choice


def read_schema(name: str) -> dict[str, Any]:
    """Return the JSON schema in a file; ``example``: a built-in one. Raises ConfigError."""
    schema: dict[str, Any] = EXAMPLE_SCHEMA if name == EXAMPLE else read_json("json_schema", name)
    check_schema(f"api.json_schema={name}", schema)
    return schema


def check_schema(name: str, schema: Any) -> None:
    """Raise ConfigError if this is no JSON schema, or refers to one elsewhere: none is fetched."""
    import jsonschema  # start-up time: 60 ms, only needed with a schema

    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except (jsonschema.SchemaError, AttributeError, TypeError) as error:
        raise ConfigError(f"{name} is no JSON schema: {getattr(error, 'message', error)}") from error
    for reference in _references(schema):
        if not _is_inside(reference, schema):
            raise ConfigError(f"{name} refers to {reference}, which is not in it", hint="put it under $defs")


def read_json(key: str, name: str) -> Any:
    """Return the JSON in a file that a key of the API names. Raises ConfigError."""
    try:
        return json.loads(Path(name).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"api.{key}={name} cannot be read: {error.strerror}", hint=f"api.{key}={EXAMPLE}") from error
    except ValueError as error:
        raise ConfigError(f"api.{key}={name} is no JSON: {error}") from error


def matches_schema(text: str, schema: Mapping[str, Any]) -> bool:
    """Return whether a text is JSON that a schema allows."""
    import jsonschema  # start-up time: as above

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return bool(jsonschema.validators.validator_for(schema)(schema).is_valid(value))


def _references(schema: Any) -> Iterator[str]:
    """Yield the targets of all ``$ref`` in a schema."""
    if isinstance(schema, Mapping):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference
    for part in schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ():
        yield from _references(part)


def _is_inside(reference: str, schema: Any) -> bool:
    """Return whether a reference leads to a part of the schema: a JSON pointer (RFC 6901), or the name of an anchor."""
    if not reference.startswith("#/"):
        return reference == "#" or (reference.startswith("#") and f'"{reference[1:]}"' in json.dumps(schema))
    for word in unquote(reference).split("/")[1:]:
        key = word.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, list) and key.isdecimal() and int(key) < len(schema):
            schema = schema[int(key)]
        elif isinstance(schema, Mapping) and key in schema:
            schema = schema[key]
        else:
            return False
    return True


def _check_regex(regex: str | None) -> None:
    try:
        re.compile(regex or "")
    except re.error as error:
        raise ConfigError(f"api.regex={regex} is no regular expression: {error}") from error
