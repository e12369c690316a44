"""Tools and schemas: what is refused before a load, and odd answers that are counted as wrong, not raised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchhydra.client.answer_text import TOOL_CALL
from benchhydra.client.apis.chat import Chat
from benchhydra.errors import ConfigError
from benchhydra.records import Anomaly

CALL = {"index": 0, "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}


def anomalies_of(calls: Any, choice: str = "required") -> int:
    """What the check says of an answer with this under ``tool_calls``."""
    return Chat(tools="example", tool_choice=choice).check_text(TOOL_CALL + json.dumps(calls)).anomalies


def test_a_call_that_fits_its_tool_is_right() -> None:
    assert anomalies_of([CALL]) == 0
    assert anomalies_of([CALL], "add") == 0


@pytest.mark.parametrize("choice", ["none", "get_weather"])
def test_a_call_that_was_not_to_be_made_is_wrong(choice: str) -> None:
    assert anomalies_of([CALL], choice) == Anomaly.WRONG_TOOL_CALL


@pytest.mark.parametrize(
    "calls",
    ["a text", 7, [7], [{"function": "add"}], [{"function": {"name": 7}}], [{"function": ["add"]}], {"name": None}],
)
def test_calls_of_another_form_are_wrong(calls: Any) -> None:
    assert anomalies_of(calls) == Anomaly.WRONG_TOOL_CALL


@pytest.mark.parametrize("parameters", [{"type": "no-such-type"}, {"$ref": "http://127.0.0.1:9/a.json"}, ["a"]])
def test_tools_whose_arguments_cannot_be_checked_are_refused(tmp_path: Path, parameters: Any) -> None:
    file = tmp_path / "tools.json"
    file.write_text(json.dumps([{"type": "function", "function": {"name": "f", "parameters": parameters}}]))
    with pytest.raises(ConfigError, match="parameters of f"):
        Chat(tools=str(file))


@pytest.mark.parametrize(
    "reference", ["http://127.0.0.1:9/a.json", "other.json", "#/$defs/none", "#/anyOf/7", "#nowhere"]
)
def test_a_schema_that_refers_to_another_document_is_refused(tmp_path: Path, reference: str) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps({"anyOf": [{"type": "null"}, {"items": {"$ref": reference}}]}))
    with pytest.raises(ConfigError, match="is not in it"):
        Chat(json_schema=str(file))


def test_a_schema_may_refer_to_its_own_parts(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    schema = {
        "$defs": {"a/b": {"type": "integer"}, "named": {"$anchor": "name", "type": "null"}},
        "properties": {"x": {"$ref": "#/$defs/a~1b"}, "y": {"$ref": "#name"}, "z": {"$ref": "#"}},
    }
    file.write_text(json.dumps(schema))
    api = Chat(json_schema=str(file))
    assert api.check_text('{"x": 1, "y": null, "z": {"x": 2}}').anomalies == 0
    assert api.check_text('{"z": {"x": "2"}}').anomalies == Anomaly.INVALID_OUTPUT
