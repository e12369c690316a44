"""Hints say what to type: each setting in the hints of the source can be typed as it stands."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

import benchhydra

SETTING = re.compile(r"^[+~]*[a-z_]+(\.[\w.-]+)?=")


def hints() -> Iterator[tuple[str, str]]:
    """Every constant ``hint=...`` of the source, with its place."""
    for path in sorted(Path(benchhydra.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "hint" and isinstance(node.value, ast.Constant):
                yield f"{path.name}:{node.value.lineno}", str(node.value.value)


def settings(hint: str) -> list[str]:
    """The settings in a hint, as a shell passes them on; none if its apostrophes are those of English words."""
    try:
        words = shlex.split(hint)
    except ValueError:
        return []
    return [word.rstrip(",;:") for word in words if SETTING.match(word)]


def test_every_setting_in_a_hint_can_be_typed() -> None:
    parser = OverridesParser.create()
    typed = [(place, word) for place, hint in hints() for word in settings(hint)]
    assert len(typed) > 100
    for _, word in typed:
        parser.parse_override(word)
