"""Tools: their definitions in the body, and the calls in an answer, which must be of these and have valid arguments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchhydra.client.apis._structured import EXAMPLE, check_schema, matches_schema, read_json
from benchhydra.errors import ConfigError

#: ``api.tools=example``.
EXAMPLE_TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Return the weather of a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Return the sum of two whole numbers.",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
                "additionalProperties": False,
            },
        },
    },
]
CHOICES = ("auto", "required", "none")


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A call in an answer. arguments: JSON, as the model wrote it."""

    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The tools that a load offers. choice: auto, required, none, or the name of the one to call."""

    definitions: Sequence[Mapping[str, Any]]
    choice: str

    @classmethod
    def of(cls, name: str | None, choice: str) -> Tools | None:
        """Return the tools in a file, or the built-in ``example``; None without a name. Raises ConfigError."""
        if name is None:
            return None
        definitions = EXAMPLE_TOOLS if name == EXAMPLE else read_json("tools", name)
        names = _names(definitions)
        if names is None:
            raise ConfigError(f"api.tools={name} is no list of tools in OpenAI's form", hint=f"api.tools={EXAMPLE}")
        for tool in definitions:
            check_schema(f"api.tools={name}: parameters of {tool['function']['name']}", _parameters(tool))
        if choice not in (*CHOICES, *names):
            raise ConfigError(f"api.tool_choice={choice} is no tool", hint=f"one of {', '.join((*CHOICES, *names))}")
        return cls(definitions=definitions, choice=choice)

    def body(self) -> dict[str, Any]:
        """Return the fields of the body that offer the tools."""
        named = {"type": "function", "function": {"name": self.choice}}
        return {"tools": self.definitions, "tool_choice": self.choice if self.choice in CHOICES else named}

    @property
    def must_call(self) -> bool:
        """Whether each answer must have a call."""
        return self.choice not in ("auto", "none")

    def allows(self, call: ToolCall) -> bool:
        """Return whether a call is of one of these tools, and its arguments fit it."""
        if self.choice == "none" or (self.choice not in CHOICES and call.name != self.choice):
            return False
        schemas = {tool["function"]["name"]: _parameters(tool) for tool in self.definitions}
        return call.name in schemas and matches_schema(call.arguments or "{}", schemas[call.name])


def calls_of(pieces: Iterable[str]) -> list[ToolCall]:
    """Return the calls in the JSON of an answer's ``tool_calls``; of a stream, the pieces of each call are joined."""
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for piece in pieces:
        for number, call in enumerate(_calls_in(piece)):
            index = call.get("index")
            at = index if type(index) is int else number
            function = call.get("function")
            function = function if isinstance(function, dict) else {}  # a call that no tool allows
            name = function.get("name")
            names[at] = names.get(at, "") + (name if isinstance(name, str) else "")
            arguments[at] = arguments.get(at, "") + _text(function.get("arguments"))
    return [ToolCall(name=names[at], arguments=arguments[at]) for at in sorted(names)]


def _calls_in(piece: str) -> list[dict[str, Any]]:
    try:
        calls = json.loads(piece)
    except ValueError:
        return [{}]  # a call that no tool allows
    calls = calls if isinstance(calls, list) else [{"function": calls}]
    return [call if isinstance(call, dict) else {} for call in calls]


def _text(arguments: Any) -> str:
    """Return arguments as JSON text; some servers send them as an object."""
    return arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments)


def _parameters(tool: Mapping[str, Any]) -> Any:
    """Return the JSON schema of a tool's arguments."""
    return tool["function"].get("parameters") or {}


def _names(definitions: Any) -> list[str] | None:
    """Return the names of the tools; None if these are no definitions."""
    try:
        names = [tool["function"]["name"] for tool in definitions]
    except (TypeError, KeyError):
        return None
    return names if names and all(isinstance(name, str) and name for name in names) else None
