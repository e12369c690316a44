"""JSON Schemas of the YAML files, from the config dataclasses: editors complete keys and mark unknown ones.

One schema for each kind of file: ``experiment`` (also config.yaml, launchers and conf/local), ``suite``, ``gate``, and
one for each config group. What Hydra resolves later (``${...}``, ``???``) is allowed in place of every value.
"""

from __future__ import annotations

import dataclasses
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from benchhydra import registry
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.config import BenchConfig
from benchhydra.overrides.groups import group_names, group_options

Schema = dict[str, Any]

DIALECT = "http://json-schema.org/draft-07/schema#"
#: Interpolations and mandatory values; and numbers that YAML has as texts.
UNRESOLVED: Schema = {"type": "string", "pattern": r"^(\$\{.*\}|\?\?\?)$"}
NUMBER_TEXT: Schema = {"type": "string", "pattern": r"^(\$\{.*\}|\?\?\?|inf|[-+]?[0-9.]+([eE][-+]?[0-9]+)?)$"}
SCALARS: dict[Any, Schema] = {
    str: {"type": ["string", "number", "boolean"]},  # OmegaConf makes a text of it
    bool: {"anyOf": [{"type": "boolean"}, UNRESOLVED]},
    int: {"anyOf": [{"type": "integer"}, UNRESOLVED]},
    float: {"anyOf": [{"type": "number"}, NUMBER_TEXT]},
    type(None): {"type": "null"},
    Any: {},
}
#: Groups whose option is a part of the root config.
PLAIN_GROUPS = ("model", "gpus", "sparsity")


def schemas() -> dict[str, Schema]:
    """Kind of file -> its schema. ``registry.discover`` must have been called."""
    groups = {group: _group_file(group) for group in (*PLAIN_GROUPS, *registry.GROUPS)}
    return {"experiment": _experiment(), "suite": _suite(), "gate": _gate(), **groups}


def _group_file(group: str) -> Schema:
    """The schema of conf/GROUP/NAME.yaml: the keys of one of the group's classes."""
    if group in PLAIN_GROUPS:
        keys = _object(get_type_hints(BenchConfig)[group])
        return _document(f"an option of {group}", keys)
    options = [_option_file(group, name, cls) for name, cls in registry.options(group).items()]
    return _document(f"an option of {group}", {"type": "object", "anyOf": options})


def _option_file(group: str, name: str, cls: type[Any]) -> Schema:
    schema = _object(cls)
    own = {"const": f"/schema/{group}/{name}@_here_"}
    others = {"type": "string", "pattern": "^(?!/schema/)"}
    schema["properties"]["defaults"] = {"type": "array", "items": {"anyOf": [own, others, {"type": "object"}]}}
    return {"title": f"{group}={name}", **schema}


def _experiment() -> Schema:
    keys = _object(BenchConfig)
    keys["properties"] |= {
        "defaults": {"type": "array", "items": {"anyOf": [{"type": "string"}, _default_entry()]}},
        "hydra": {"type": "object", "description": "Hydra's own keys: hydra.sweeper.params holds the axes of a sweep"},
    }
    return _document("an experiment: a preset of a run or a sweep", keys)


def _default_entry() -> Schema:
    """An entry ``override /GROUP: OPTION`` of a defaults list. Any option is allowed, but no unknown group."""
    properties = {}
    for group in group_names():
        known = {"enum": sorted(group_options(group))}
        properties[rf"^(override |optional )?/?{group}(@.*)?$"] = {"anyOf": [known, {"type": ["string", "null"]}]}
    anything: Schema = {"type": ["string", "null"]}
    properties |= {r"^(override |optional )?/?hydra/": anything, r"^optional local$": anything}
    return {"type": "object", "patternProperties": properties, "additionalProperties": False}


def _suite() -> Schema:
    overrides = {"type": "array", "items": {"type": "string"}, "description": "overrides of this experiment"}
    entry = {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": overrides, "maxProperties": 1}]}
    experiments = {"type": "array", "items": entry, "description": "names of experiments (conf/experiment)"}
    properties = {"experiments": experiments}
    return _document(
        "a suite: a list of experiments",
        {"type": "object", "properties": properties, "required": ["experiments"], "additionalProperties": False},
    )


def _gate() -> Schema:
    _, components = msgspec.json.schema_components([Thresholds], ref_template="#/definitions/{name}")
    return {
        "$schema": DIALECT,
        "title": "thresholds of benchhydra gate",
        "$ref": "#/definitions/Thresholds",
        "definitions": components,
    }


def _document(title: str, schema: Schema) -> Schema:
    return {"$schema": DIALECT, "title": title, **schema}


def _object(cls: type[Any]) -> Schema:
    """The schema of a config class: its fields and no others."""
    hints = get_type_hints(cls)
    properties = {
        field.name: _field(field, hints[field.name])
        for field in dataclasses.fields(cls)
        if not str(field.metadata.get("doc", "")).startswith("internal:")
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _field(field: dataclasses.Field[Any], kind: Any) -> Schema:
    if field.name in registry.GROUPS:
        return {"anyOf": [_object(cls) for cls in registry.options(field.name).values()]}
    if dataclasses.is_dataclass(kind):
        return _object(kind)  # type: ignore[arg-type]
    choices = field.metadata.get("choices", ())
    schema = {"anyOf": [{"enum": list(choices)}, UNRESOLVED]} if choices else _type(kind)
    return schema | _annotations(field)


def _annotations(field: dataclasses.Field[Any]) -> Schema:
    """What an editor shows of a field: its meaning with its unit, and its default."""
    doc, unit = (str(field.metadata.get(name, "")) for name in ("doc", "unit"))
    description = f"{doc} ({unit})" if unit else doc
    has_default = isinstance(field.default, (str, bool, int, type(None))) and field.default != "???"
    return {"description": description} | ({"default": field.default} if has_default else {})


def _type(kind: Any) -> Schema:
    """The schema of a field's type. Raises TypeError for a type that no field has had yet."""
    if kind in SCALARS:
        return dict(SCALARS[kind])
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_type(argument) for argument in arguments]}
    if origin is list:
        return {"anyOf": [{"type": "array", "items": _type(arguments[0])}, UNRESOLVED]}
    if origin is dict:
        return {"anyOf": [{"type": "object", "additionalProperties": _type(arguments[1])}, UNRESOLVED]}
    raise TypeError(f"no JSON Schema for the type {kind}")
