"""The keys of the configuration as a page of Markdown: docs/configuration.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

INTRODUCTION = """\
# Configuration

Written by `make docs` from the declared keys; a test checks that it is up to date.

Every key with its type, default, unit and meaning. `benchhydra KEY=VALUE` sets it, `benchhydra -m KEY=A,B` measures
both, and `benchhydra options load=poisson` prints the table of an option. `GROUP=OPTION` (`load=ramp`) chooses an
option of a group; the option's keys are then `GROUP.KEY`. "mandatory" means that there is no default. `null` is
"not set": the meaning says what happens then. Files that hold these keys can be checked and completed in an editor:
[YAML in an editor](editors.md).
"""


@dataclass(frozen=True)
class ConfigKey:
    """A key as typed, with its type, default, unit and meaning."""

    name: str
    kind: str
    default: str
    unit: str
    doc: str


def markdown(sections: Iterable[tuple[str, Sequence[ConfigKey]]]) -> str:
    """The page. sections: (title as ``benchhydra options`` prints it, keys)."""
    return "\n".join([INTRODUCTION, *(_section(title, keys) for title, keys in sections)])


def _section(title: str, keys: Sequence[ConfigKey]) -> str:
    name, _, meaning = title.partition("  ")
    lines = [f"## {name}", ""]
    if meaning:
        lines += [f"{_capitalized(_escaped(meaning))}.".replace("..", "."), ""]
    if keys:
        lines += ["| key | type | default | unit | meaning |", "|---|---|---|---|---|", *map(_row, keys), ""]
    return "\n".join(lines)


def _row(key: ConfigKey) -> str:
    kind = ", ".join(f"`{choice}`" for choice in key.kind.split("|") if choice)
    default = key.default if key.default in ("", "mandatory") else f"`{key.default}`"
    return f"| `{key.name}` | {kind} | {default} | {key.unit} | {_escaped(key.doc)} |"


def _escaped(text: str) -> str:
    """The text without what Markdown takes for markup or for the end of a cell."""
    for character in "\\|*_<":
        text = text.replace(character, f"\\{character}")
    return text


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
