"""Facts: values about a run apart from its request rows, each with a declared name and unit, in one mapping.

A fact is determined in one place (a probe, the load generator, the server's lease) and passed unchanged to the
verdict's rules, the result's metadata and the tables. A value that could not be determined is absent, never 0.

The probes' helper process imports this module: keep it light (``dataclasses`` would take 14 ms).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from benchhydra.errors import ConfigError


class Fact(NamedTuple):
    """The declaration of a fact. ``in_metadata``: the result's metadata contains its value under the same name."""

    name: str
    unit: str
    doc: str
    in_metadata: bool = False


_declared: dict[str, Fact] = {}


def fact(name: str, *, unit: str, doc: str, in_metadata: bool = False) -> str:
    """Declare a fact next to the code that determines it, and return its name.

    A second, identical declaration has no effect; a different one for the same name raises ConfigError.
    """
    declaration = Fact(name=name, unit=unit, doc=doc, in_metadata=in_metadata)
    if _declared.setdefault(name, declaration) != declaration:
        raise ConfigError(f"two different facts are called {name}")
    return name


def declared_facts() -> dict[str, Fact]:
    """Return all declared facts by name."""
    return dict(_declared)


class Facts(Mapping[str, Any]):
    """An immutable mapping of facts. ``facts[name]`` is None if the fact is unknown.

    The constructor raises KeyError for an undeclared name: a misspelt fact would otherwise be lost without an error.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._values = {name: value for name, value in (values or {}).items() if value is not None}
        undeclared = self._values.keys() - _declared.keys()
        if undeclared:
            raise KeyError(f"undeclared facts: {', '.join(sorted(undeclared))}")

    def __getitem__(self, name: str) -> Any:
        return self._values.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __or__(self, more: Mapping[str, Any]) -> Facts:
        """Return the union; ``more`` takes precedence."""
        return Facts(self._values | dict(more))

    def metadata(self) -> dict[str, Any]:
        """Return the facts that belong in the result's metadata."""
        return {name: value for name, value in self._values.items() if _declared[name].in_metadata}
