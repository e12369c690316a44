"""List the keys of the config groups' options, with types, defaults and units.

benchhydra options                      all groups and the root keys
benchhydra options load                 every option of a group
benchhydra options load=poisson         the keys of one option, as typed
benchhydra options qps sweep.order      single keys
benchhydra options --markdown           everything, as docs/configuration.md
benchhydra options --schema DIR         JSON Schemas of the YAML files, for editors, into DIR
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

from benchhydra import registry
from benchhydra.artifacts import write_atomic
from benchhydra.commands import _config_reference
from benchhydra.commands._config_reference import ConfigKey
from benchhydra.errors import ConfigError, ResultError
from benchhydra.overrides.groups import group_names, group_options
from benchhydra.renamed_keys import new_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra options``."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="GROUP, GROUP=OPTION or KEY; none: everything")
    parser.add_argument("--markdown", action="store_true", help="write a page of Markdown")
    parser.add_argument("--schema", type=Path, metavar="DIR", help="write JSON Schemas of the YAML files into DIR")


def run(args: argparse.Namespace) -> int:
    """Print a table for each given name, or for all keys. Raises ConfigError for an unknown name."""
    registry.discover()
    if args.schema:
        _write_schemas(args.schema)
        return 0
    names = args.names or ([*_plain_root(), *group_names(), *_other_nodes()] if args.markdown else _all_names())
    sections = _merged([section for name in names for section in _sections(name)])
    tables = "\n".join(_table(title, keys) for title, keys in sections)
    sys.stdout.write(_config_reference.markdown(sections) if args.markdown else tables)
    return 0


def _all_names() -> list[str]:
    return [*registry.GROUPS, *_nodes(), *_plain_root()]


def _other_nodes() -> list[str]:
    """Root keys with keys of their own that are no config groups: ``sweep``, ``slo``, ..."""
    return [name for name in _nodes() if name not in group_names()]


def _write_schemas(directory: Path) -> None:
    """Write a file for each kind of YAML file. Raises ResultError if the directory cannot be written."""
    from benchhydra.commands._yaml_schema import schemas  # start-up time: all options, not for --help

    try:
        for kind, schema in schemas().items():
            write_atomic(directory / f"{kind}.json", (json.dumps(schema, indent=1) + "\n").encode())
    except OSError as error:
        raise ResultError(f"cannot write to {directory}: {error.strerror}", hint="--schema DIR") from error


def _nodes() -> list[str]:
    """Root keys whose value is a dataclass and not a config group."""
    types = _types(_root())
    return [name for name, kind in types.items() if dataclasses.is_dataclass(kind) and name not in registry.GROUPS]


def _sections(name: str) -> Iterator[tuple[str, list[ConfigKey]]]:
    """(title, keys) of each table for a name. Raises ConfigError."""
    group, _, option = name.partition("=")
    if group in registry.GROUPS:
        for each in [option] if option else registry.options(group):
            yield _option(group, each)
    elif group in _nodes():
        _refuse_unknown_option(group, option)
        choices = ", ".join(group_options(group))
        title = name if option or not choices else f"{group}  one of {choices}"
        yield title, _with_yaml(_keys(_types(_root())[group], group), group, option)
    elif group in group_names() and group not in _plain_root():
        _refuse_unknown_option(group, option)
        lines = group_options(group)
        selected = {option: lines[option]} if option else lines
        yield group, [ConfigKey(f"{group}={each}", "", "", "", line) for each, line in selected.items()]
    else:
        yield "root", [_single(name)]


def _option(group: str, option: str) -> tuple[str, list[ConfigKey]]:
    _refuse_unknown_option(group, option)
    line = group_options(group)[option]
    cls = registry.options(group).get(option)
    return f"{group}={option}  {line}", _with_yaml(_keys(cls, group), group, option) if cls else []


def _with_yaml(keys: Iterable[ConfigKey], group: str, option: str) -> list[ConfigKey]:
    """The keys; if the option has a YAML file, its values replace the defaults."""
    import yaml  # only for groups with YAML files

    path = registry.CONF_DIR / group / f"{option}.yaml"
    if not option or not path.is_file():
        return list(keys)
    values = {f"{group}.{name}": value for name, value in (yaml.safe_load(path.read_text("utf-8")) or {}).items()}
    return [dataclasses.replace(key, default=_text(values.get(key.name, key.default))) for key in keys]


def _refuse_unknown_option(group: str, option: str) -> None:
    options = group_options(group)
    if not option or option in options:
        return
    near = difflib.get_close_matches(option, options, n=1, cutoff=0.5)
    choices = f"{group} is one of {', '.join(options)}"
    raise ConfigError(
        f"no such option: {group}={option}", hint=f"did you mean {group}={near[0]}? {choices}" if near else choices
    )


def _single(name: str) -> ConfigKey:
    """The key of this name, at the root or below it. Raises ConfigError."""
    keys = {key.name: key for key in _all_keys()}
    if name in keys:
        return keys[name]
    if new_name(name):
        raise ConfigError(f"no such group or key: {name}", hint=f"{name} is now {new_name(name)}")
    near = difflib.get_close_matches(name, [*keys, *group_names()], n=1, cutoff=0.6)
    raise ConfigError(
        f"no such group or key: {name}",
        hint=f"did you mean {near[0]}?" if near else f"groups: {', '.join(group_names())}",
    )


def _all_keys() -> Iterator[ConfigKey]:
    root = _root()
    yield from (key for key in _keys(root, "") if key.name in _plain_root())
    for node in _nodes():
        yield from _keys(_types(root)[node], node)
    for group in registry.GROUPS:
        for cls in registry.options(group).values():
            yield from _keys(cls, group)


def _plain_root() -> list[str]:
    """Root keys that hold a plain value."""
    groups = {*registry.GROUPS, *_nodes()}
    return [field.name for field in dataclasses.fields(_root()) if field.name not in groups]


def _root() -> type[Any]:
    from benchhydra.config import BenchConfig  # start-up time: all options, not for --help

    return BenchConfig


def _types(cls: type[Any]) -> dict[str, Any]:
    return get_type_hints(cls)


def _keys(cls: type[Any], prefix: str) -> Iterator[ConfigKey]:
    types = _types(cls)
    for field in dataclasses.fields(cls):
        doc = str(field.metadata.get("doc", ""))
        if doc.startswith("internal:"):
            continue
        choices = field.metadata.get("choices", ())
        kind = "|".join(map(str, choices)) or _type_name(types[field.name])
        name = f"{prefix}.{field.name}" if prefix else field.name
        yield ConfigKey(name, kind, _default(field), str(field.metadata.get("unit", "")), doc)


def _type_name(kind: Any) -> str:
    name = kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)
    return name.replace("typing.", "").replace(" | None", "")


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    return "mandatory" if value is dataclasses.MISSING else _text(value)


def _text(value: Any) -> str:
    if value == "???":
        return "mandatory"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value) or "''"


def _merged(sections: list[tuple[str, list[ConfigKey]]]) -> list[tuple[str, list[ConfigKey]]]:
    """The sections, with those of the same title merged into one."""
    merged: dict[str, list[ConfigKey]] = {}
    for title, keys in sections:
        merged.setdefault(title, []).extend(keys)
    return list(merged.items())


def _table(title: str, keys: list[ConfigKey]) -> str:
    columns = [[key.name, key.kind, key.default, key.unit] for key in keys]
    widths = [max((len(row[n]) for row in columns), default=0) for n in range(4)]
    lines = [title]
    for row, key in zip(columns, keys, strict=True):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True) if width]
        lines.append("  ".join(["", *cells, key.doc]).rstrip())
    return "\n".join(lines) + "\n"
