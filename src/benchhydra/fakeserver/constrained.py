"""Answers that match what a request asks for: a JSON schema, a choice, a tool's parameters."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

#: Keys of a schema that fix a value, in order of precedence.
_NUMBER_BOUNDS = ("minimum", "maximum")
#: The answer if a regular expression is asked for.
WORDS = "w w w"


class FakeCall(NamedTuple):
    """A call of a tool. arguments: JSON."""

    name: str
    arguments: str


def example_text(body: dict[str, Any]) -> str | None:
    """Return a text that matches what the body asks for; None if it asks for nothing.

    Raises ValueError for a regular expression that the fake engine's words do not match.
    """
    form = body.get("response_format") or {}
    asked = body.get("structured_outputs") or {}
    if form.get("type") == "json_schema":
        return json.dumps(example_value(form["json_schema"]["schema"]))
    if "choice" in asked:
        return str(asked["choice"][0])
    if "regex" in asked and not re.fullmatch(asked["regex"], WORDS):
        raise ValueError(f"the fake engine answers {WORDS!r}, which {asked['regex']} does not match")
    return WORDS if "regex" in asked else None


def tool_call(body: dict[str, Any]) -> FakeCall | None:
    """Return a call of the tool that is asked for, or of the first one; None without tools."""
    choice, tools = body.get("tool_choice", "auto"), body.get("tools")
    if not tools or choice == "none":
        return None
    functions = {tool["function"]["name"]: tool["function"] for tool in tools}
    name = choice["function"]["name"] if isinstance(choice, dict) else next(iter(functions))
    return FakeCall(name, json.dumps(example_value(functions[name].get("parameters") or {"type": "object"})))


def example_value(schema: dict[str, Any]) -> Any:
    """Return a value that a schema of the usual keys allows."""
    if "const" in schema or "enum" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    kind = schema.get("type", "object")
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: example_value(properties.get(name, {})) for name in schema.get("required", properties)}
    if kind == "array":
        return [example_value(schema.get("items", {}))] * max(1, schema.get("minItems", 1))
    if kind == "string":
        return "w" * max(1, schema.get("minLength", 1))
    if kind in ("integer", "number"):
        return next((schema[key] for key in _NUMBER_BOUNDS if key in schema), 1)
    return {"boolean": True, "null": None}[kind]
