"""YAML from files, with a limit on what anchors expand to: nine lines of nested anchors name a billion values."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from benchhydra.errors import ConfigError

#: The most values (keys included) that a file may hold with its anchors expanded; the largest of ours holds 300.
MOST_VALUES = 100_000


def load_yaml(path: Path) -> Any:
    """Return the content of a YAML file. Raises ConfigError if it cannot be read, is not YAML or expands too far."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return yaml.load(file, Loader=limited(yaml.SafeLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"cannot read {path}: {' '.join(str(error).split())}") from error


@cache
def limited(loader: type[Any]) -> type[Any]:
    """Return a subclass of a PyYAML loader that raises ConfigError for a document that expands too far."""

    class LimitedLoader(loader):  # type: ignore[misc]
        def get_single_node(self) -> yaml.Node | None:
            node: yaml.Node | None = super().get_single_node()
            if node is not None:
                _check_size(node, self.name)
            return node

    return LimitedLoader


def _check_size(root: yaml.Node, name: str) -> None:
    """Raise ConfigError if a document is too large with its anchors expanded. Visits each node once."""
    sizes: dict[int, int | None] = {}  # None: its members are being visited
    pending = [root]
    while pending:
        node = pending[-1]
        members = list(_members(node))
        if id(node) not in sizes:
            sizes[id(node)] = None
            pending += [member for member in members if id(member) not in sizes]
            if any(sizes.get(id(member), 0) is None for member in members):
                raise ConfigError(f"{name}: an anchor contains itself")
            continue
        pending.pop()
        if sizes[id(node)] is None:
            sizes[id(node)] = 1 + sum(sizes[id(member)] or 0 for member in members)
        if (sizes[id(node)] or 0) > MOST_VALUES:
            raise ConfigError(f"{name}: with its anchors expanded it has more than {MOST_VALUES:,} values")


def _members(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
