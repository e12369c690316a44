"""Prints an interpreter's version of a package and the flags that its source files declare, without importing it.

Usage: program_facts.py PACKAGE FILE... (patterns relative to the package). The output is one JSON object:
``{"python": ..., "version": ... or absent, "flags": [...] or absent, "switches": [...]}``; flags have underscores, and
``switches`` are those without a value. A switch that can be turned off has its ``no_`` form among the flags.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

#: A long flag as argparse and click declare it: ``--port``, ``--cache/--no-cache``.
FLAG = re.compile(r"--(?P<name>[a-z0-9][a-z0-9_-]+)(?:/--(?P<off>[a-z0-9][a-z0-9_-]+))?")
#: Actions of argparse for flags without a value; an own action is named after the one that it extends.
SWITCH_ACTION = re.compile(r"store_(true|false)|Store(True|False)")
#: Argparse's action for flags with a ``--no-`` form.
NEGATABLE_ACTION = "BooleanOptionalAction"
#: What SGLang's fields with flags are annotated with: ``A`` is its short name.
ANNOTATED = ("A", "Annotated")
BOOL = re.compile(r"\bbool\b")


def program_facts(package: str, files: Sequence[str]) -> dict[str, Any]:
    """Return the facts of one package; only "python" if it is not installed."""
    facts: dict[str, Any] = {"python": platform.python_version()}
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return facts
    facts["version"] = version(package) or "unknown"
    folder = Path(spec.submodule_search_locations[0])
    flags = declared_flags([path.read_text(encoding="utf-8") for file in files for path in sorted(folder.glob(file))])
    if flags:
        facts |= {"flags": sorted(flags), "switches": sorted(name for name, is_switch in flags.items() if is_switch)}
    return facts


def version(package: str) -> str | None:
    """Return the version of the distribution that provides a package; None if it has no metadata."""
    for name in importlib.metadata.packages_distributions().get(package, (package,)):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def declared_flags(texts: Sequence[str]) -> dict[str, bool]:
    """Return the flags that source files declare, with underscores -> whether it is a switch: has no value."""
    flags: dict[str, bool] = {}
    for tree in map(ast.parse, texts):
        flags |= dict(class_flags(tree))
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                flags |= dict(typer_flags(node))
    for tree in map(ast.parse, texts):  # after the fields of classes: what a call says of a flag counts
        flags = dict.fromkeys(literal_flags(tree), False) | flags
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                flags |= dict(call_flags(node))
    return flags


def literal_flags(tree: ast.AST) -> Iterator[str]:
    """Yield the flags that stand in a source file as texts: ``aliases=["--tp-size"]``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (match := FLAG.fullmatch(node.value)):
            yield from (_underscored(name) for name in match.groups() if name)


def call_flags(call: ast.Call) -> Iterator[tuple[str, bool]]:
    """Yield the flags of ``add_argument("--x", action="store_true")`` or ``click.option("--x/--no-x")``."""
    words = [word.value for word in call.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg}
    matches = [match for word in words if (match := FLAG.fullmatch(word))]
    if not options and not any(match["off"] for match in matches):  # words.append("--x") says nothing of --x
        return
    negatable = NEGATABLE_ACTION in options.get("action", "")
    is_switch = negatable or bool(SWITCH_ACTION.search(options.get("action", ""))) or options.get("is_flag") == "True"
    for match in matches:
        yield _underscored(match["name"]), is_switch or match["off"] is not None
        if match["off"] is not None:
            yield _underscored(match["off"]), True
        if negatable:
            yield f"no_{_underscored(match['name'])}", True


def typer_flags(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, bool]]:
    """Yield the parameters with ``typer.Option``: ``port: Annotated[int, typer.Option(...)]``; a bool has two forms."""
    for argument in (*function.args.args, *function.args.kwonlyargs):
        annotation = ast.unparse(argument.annotation) if argument.annotation is not None else ""
        if "typer.Option" in annotation:
            is_switch = bool(BOOL.search(annotation.partition("typer.Option")[0]))
            yield argument.arg, is_switch
            if is_switch:
                yield f"no_{argument.arg}", True


def class_flags(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Yield the fields from which SGLang makes its flags: ``class Parallel: tp_size: A[int, Arg(...)]``."""
    for parent in tree.body:
        for item in parent.body if isinstance(parent, ast.ClassDef) else ():
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                yield from _field_flags(item.target.id, item.annotation)


def _field_flags(name: str, annotation: ast.expr) -> Iterator[tuple[str, bool]]:
    """Yield the flags of a field: none without a help text or with ``no_cli=True``, two with a ``--no-`` form."""
    if not isinstance(annotation, ast.Subscript) or ast.unparse(annotation.value) not in ANNOTATED:
        return
    if not isinstance(annotation.slice, ast.Tuple):
        return
    kind, text = ast.unparse(annotation.slice.elts[0]), ast.unparse(annotation)
    if "no_cli=True" in text:
        return
    negatable = NEGATABLE_ACTION in text
    own_name = () if "cli_name=" in text else (name,)
    for flag in (*own_name, *literal_flags(annotation)):
        yield flag, negatable or "store_true" in text or kind in ("bool", "Optional[bool]")
        if negatable:
            yield f"no_{flag}", True


def _underscored(name: str) -> str:
    return name.replace("-", "_")


if __name__ == "__main__":
    sys.path = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
    sys.stdout.write(json.dumps(program_facts(sys.argv[1], sys.argv[2:])) + "\n")
