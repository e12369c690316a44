"""Prints an interpreter's version of a package and the flags that its source files declare, without importing it.

Usage: program_facts.py PACKAGE FILE... (patterns relative to the package). The output is one JSON object:
``{"python": ..., "version": ... or absent, "flags": [...] or absent}``; flags have underscores.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: A long flag in a source file, as argparse and click declare it.
FLAG = re.compile(r"""["']--([a-z0-9][a-z0-9_-]+)(?:/--[a-z0-9_-]+)?["']""")


def program_facts(package: str, files: Sequence[str]) -> dict[str, Any]:
    """Return the facts of one package; only "python" if it is not installed."""
    facts: dict[str, Any] = {"python": platform.python_version()}
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return facts
    facts["version"] = version(package) or "unknown"
    folder = Path(spec.submodule_search_locations[0])
    texts = [path.read_text(encoding="utf-8") for file in files for path in sorted(folder.glob(file))]
    names = {name for text in texts for name in (*literal_flags(text), *typer_flags(text), *class_flags(text))}
    return facts | ({"flags": sorted(names)} if names else {})


def version(package: str) -> str | None:
    """Return the version of the distribution that provides a package; None if it has no metadata."""
    for name in importlib.metadata.packages_distributions().get(package, (package,)):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def literal_flags(text: str) -> set[str]:
    """Return the flags that stand in a source file as texts: ``"--tp-size"``."""
    return {name.replace("-", "_") for name in FLAG.findall(text)}


def typer_flags(text: str) -> set[str]:
    """Return the annotated parameters with ``typer.Option``: ``port: Annotated[int, typer.Option(...)]``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names |= {
                argument.arg
                for argument in (*node.args.args, *node.args.kwonlyargs)
                if argument.annotation is not None and "typer.Option" in ast.unparse(argument.annotation)
            }
    return names


def class_flags(text: str) -> set[str]:
    """Return the annotated fields of classes, from which SGLang makes its flags: ``class Parallel: tp_size: int``."""
    return {
        item.target.id
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }


if __name__ == "__main__":
    sys.path = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
    sys.stdout.write(json.dumps(program_facts(sys.argv[1], sys.argv[2:])) + "\n")
