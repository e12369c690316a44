"""Facts: what is known of a run beside its rows, each with a declared name and unit, in one mapping.

A fact arises in one place (a probe, the load generator, the server's lease) and travels unchanged to the verdict's
rules, the result's metadata and the tables. Unknown is absent, never 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchhydra.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Fact:
    """The declaration of a fact. ``in_metadata``: the result keeps its value under the same name."""

    name: str
    unit: str
    doc: str
    in_metadata: bool = False


_declared: dict[str, Fact] = {}


def fact(name: str, *, unit: str, doc: str, in_metadata: bool = False) -> str:
    """Declare a fact beside the code that finds it out, and return its name.

    Declaring it again in the same words changes nothing; in other words it raises ConfigError.
    """
    declaration = Fact(name=name, unit=unit, doc=doc, in_metadata=in_metadata)
    if _declared.setdefault(name, declaration) != declaration:
        raise ConfigError(f"two facts are called {name}")
    return name


def declared_facts() -> dict[str, Fact]:
    """All declared facts by name."""
    return dict(_declared)


class Facts(Mapping[str, Any]):
    """An immutable mapping of facts. ``facts[name]`` is None where it is unknown.

    Raises KeyError for a value whose name nobody has declared: a misspelt fact would otherwise be lost in silence.
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
        """These facts and more; of a fact in both, the second value."""
        return Facts(self._values | dict(more))

    def metadata(self) -> dict[str, Any]:
        """What the result keeps."""
        return {name: value for name, value in self._values.items() if _declared[name].in_metadata}
