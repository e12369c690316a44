"""list the keys of the config groups' options, with types, defaults and units

benchhydra options                      all groups and the root keys
benchhydra options load                 every option of a group
benchhydra options load=poisson         one option's keys, as they are typed
benchhydra options qps sweep.order      single keys
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from benchhydra import registry
from benchhydra.cli import help
from benchhydra.errors import ConfigError

#: Root keys of the schema that are nodes of one shape each.
NODES = ("model", "gpus", "sparsity", "validity", "sweep")


@dataclasses.dataclass(frozen=True)
class Key:
    """A key as it is typed, and what may be said of it."""

    name: str
    kind: str
    default: str
    unit: str
    doc: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra options``."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="GROUP, GROUP=OPTION or KEY; none: everything")


def run(args: argparse.Namespace) -> int:
    """Print the tables that were asked for."""
    registry.discover()
    wanted = args.names or [*_polymorphic(), *NODES, *_plain_root()]
    sections = [section for name in wanted for section in _sections(name)]
    sys.stdout.write("\n".join(_rendered(title, keys) for title, keys in _joined(sections)))
    return 0


def _polymorphic() -> list[str]:
    return list(registry.GROUPS)


def _sections(name: str) -> Iterator[tuple[str, list[Key]]]:
    """(title, keys) of every table that a name asks for. Raises ConfigError."""
    group, _, option = name.partition("=")
    if group in registry.GROUPS:
        chosen = [option] if option else list(registry.options(group))
        for each in chosen:
            yield _option(group, each)
    elif group in NODES:
        _known_option(group, option)
        choices = ", ".join(help.group_options(group))
        title = name if option or not choices else f"{group}  one of {choices}"
        yield title, _with_yaml(_keys(_types(_root())[group], group), group, option)
    elif group in help.group_names() and group not in _plain_root():
        _known_option(group, option)
        lines = help.group_options(group)
        shown = {option: lines[option]} if option else lines
        yield group, [Key(f"{group}={each}", "", "", "", line) for each, line in shown.items()]
    else:
        yield "root", [_single(name)]


def _option(group: str, option: str) -> tuple[str, list[Key]]:
    _known_option(group, option)
    line = help.group_options(group)[option]
    cls = registry.options(group).get(option)
    return f"{group}={option}  {line}", _with_yaml(_keys(cls, group), group, option) if cls else []


def _with_yaml(keys: Iterable[Key], group: str, option: str) -> list[Key]:
    """The keys with the values of the option's YAML file, where that has one, as defaults."""
    import yaml

    path = registry.CONF_DIR / group / f"{option}.yaml"
    if not option or not path.is_file():
        return list(keys)
    values = {f"{group}.{name}": value for name, value in (yaml.safe_load(path.read_text("utf-8")) or {}).items()}
    return [dataclasses.replace(key, default=_text(values.get(key.name, key.default))) for key in keys]


def _known_option(group: str, option: str) -> None:
    known = help.group_options(group)
    if not option or option in known:
        return
    near = difflib.get_close_matches(option, known, n=1, cutoff=0.5)
    listed = f"{group} is one of {', '.join(known)}"
    raise ConfigError(
        f"no such option: {group}={option}", hint=f"did you mean {group}={near[0]}? {listed}" if near else listed
    )


def _single(name: str) -> Key:
    """One key, of the root or of anything below it."""
    known = {key.name: key for key in _all_keys()}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, [*known, *help.group_names()], n=1, cutoff=0.6)
    raise ConfigError(
        f"no such group or key: {name}",
        hint=f"did you mean {near[0]}?" if near else f"groups: {', '.join(help.group_names())}",
    )


def _all_keys() -> Iterator[Key]:
    root = _root()
    yield from (key for key in _keys(root, "") if key.name in _plain_root())
    for node in NODES:
        yield from _keys(_types(root)[node], node)
    for group in registry.GROUPS:
        for cls in registry.options(group).values():
            yield from _keys(cls, group)


def _plain_root() -> list[str]:
    """Root keys that hold a value."""
    groups = {*registry.GROUPS, *NODES}
    return [field.name for field in dataclasses.fields(_root()) if field.name not in groups]


def _root() -> type[Any]:
    from benchhydra.config import BenchConfig

    return BenchConfig


def _types(cls: type[Any]) -> dict[str, Any]:
    from typing import get_type_hints

    return get_type_hints(cls)


def _keys(cls: type[Any], prefix: str) -> Iterator[Key]:
    types = _types(cls)
    for field in dataclasses.fields(cls):
        doc = str(field.metadata.get("doc", ""))
        if doc.startswith("internal:"):
            continue
        choices = field.metadata.get("choices", ())
        kind = "|".join(map(str, choices)) or _type_name(types[field.name])
        name = f"{prefix}.{field.name}" if prefix else field.name
        yield Key(name, kind, _default(field), str(field.metadata.get("unit", "")), doc)


def _type_name(kind: Any) -> str:
    name = kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)
    return name.replace("typing.", "").replace(" | None", "")


def _default(field: dataclasses.Field[Any]) -> str:
    made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    return "mandatory" if made is dataclasses.MISSING else _text(made)


def _text(value: Any) -> str:
    if value == "???":
        return "mandatory"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value) or "''"


def _joined(sections: list[tuple[str, list[Key]]]) -> list[tuple[str, list[Key]]]:
    """Sections of the same title as one."""
    joined: dict[str, list[Key]] = {}
    for title, keys in sections:
        joined.setdefault(title, []).extend(keys)
    return list(joined.items())


def _rendered(title: str, keys: list[Key]) -> str:
    columns = [[key.name, key.kind, key.default, key.unit] for key in keys]
    widths = [max((len(row[n]) for row in columns), default=0) for n in range(4)]
    lines = [title]
    for row, key in zip(columns, keys, strict=True):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True) if width]
        lines.append("  ".join(["", *cells, key.doc]).rstrip())
    return "\n".join(lines) + "\n"
