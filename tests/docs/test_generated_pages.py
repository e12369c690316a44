"""docs/configuration.md and docs/schema are what ``make docs`` writes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from benchhydra.commands import options
from benchhydra.errors import ResultError
from benchhydra.registry import CONF_DIR

DOCS = Path(__file__).parents[2] / "docs"
SCHEMAS = sorted((DOCS / "schema").glob("*.json"))
#: Kind of the files in a folder of conf/ that is not called like its kind.
KINDS = {"launcher": "experiment", "conf": "experiment"}
YAML_FILES = sorted(CONF_DIR.rglob("*.yaml"))


def schema_of(kind: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((DOCS / "schema" / f"{kind}.json").read_text("utf-8"))
    return schema


def errors(kind: str, document: object) -> list[str]:
    return [error.message for error in jsonschema.Draft7Validator(schema_of(kind)).iter_errors(document)]


def run_options(*words: str) -> int:
    parser = argparse.ArgumentParser()
    options.add_arguments(parser)
    return options.run(parser.parse_args(words))


def test_configuration_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_options("--markdown") == 0
    assert capsys.readouterr().out == (DOCS / "configuration.md").read_text("utf-8"), "run make docs"


def test_schemas_are_current(tmp_path: Path) -> None:
    assert run_options("--schema", str(tmp_path)) == 0
    assert [path.name for path in sorted(tmp_path.iterdir())] == [path.name for path in SCHEMAS]
    for path in SCHEMAS:
        assert (tmp_path / path.name).read_text("utf-8") == path.read_text("utf-8"), "run make docs"


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResultError, match="cannot write to"):
        run_options("--schema", str(tmp_path / "file"))


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_schemas_are_json_schemas(path: Path) -> None:
    jsonschema.Draft7Validator.check_schema(schema_of(path.stem))


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: str(path.relative_to(CONF_DIR)))
def test_every_yaml_file_matches_its_schema(path: Path) -> None:
    folder = path.parent.name
    assert errors(KINDS.get(folder, folder), yaml.safe_load(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("experiment", "num_promts: 10"),
        ("experiment", "dataset: {promt_tokens: 2}"),
        ("experiment", "num_prompts: many"),
        ("experiment", "sweep: {order: randomly}"),
        ("experiment", "defaults: [{override /scrpt: serving}]"),
        ("experiment", "sweep: {job: abc}"),  # only the sweep itself sets it
        ("suite", "experiment: [decode]"),
        ("suite", "experiments: decode"),
        ("gate", "min_effect: 2"),
        ("gate", "metrics: {p99_ttft_ms: {effect: 5}}"),
        ("model", "name: some/model"),
        ("gpus", "device: gpu"),
        ("load", "defaults: [/schema/load/ramp@_here_]\nstart_rate: 1"),
        ("load", "defaults: [/schema/load/poisson@_here_]\ncurve: linear"),  # the key of another load
        ("engine", "ttft_ms: fast"),
        ("tracking", "artifacts: sometimes"),
    ],
)
def test_a_mistake_does_not_match(kind: str, text: str) -> None:
    assert errors(kind, yaml.safe_load(text))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("experiment", "qps: inf"),
        ("experiment", "qps: .inf"),
        ("experiment", "num_prompts: ${oc.env:PROMPTS}"),
        ("experiment", "defaults: [{override /load: my_load}, {override /hydra/launcher: joblib}]"),
        ("experiment", "engine: {args: {max_num_seqs: 64, compilation_config: {mode: 3}}}"),
        ("experiment", "description: 12"),
        ("engine", "headers: {api-key: MY_KEY}\nbase_url: http://127.0.0.1:8000"),
        ("dataset", "path: ???"),
        ("suite", "experiments: [decode, {prefill: [qps=1]}]"),
    ],
)
def test_what_is_allowed_matches(kind: str, text: str) -> None:
    assert errors(kind, yaml.safe_load(text)) == []
