"""What the programs of engines say of themselves: where they are, their version and their flags."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchhydra.engines.flags import ProgramFlags
from benchhydra.errors import ConfigError
from benchhydra.escaping import printable
from benchhydra.fetch import fetch
from benchhydra.redaction import excerpt

PROGRAM_FACTS = Path(__file__).resolve().parents[1] / "engine_side" / "program_facts.py"
FACTS_TIMEOUT_S = 60.0
ASK_TIMEOUT_S = 5.0
VERSION_LENGTH = 100
HELP_FLAG = re.compile(r"(?<![\w-])--([a-z0-9][\w-]*)")
#: A line that begins with flags: the names, and what follows one space after them, which names their value.
HELP_LINE = re.compile(
    r"^\s*(?P<names>-[\w-]+(?:(?:, +| / | \| )-[\w-]+)*)(?:[ =](?P<value>[^\s,/|]\S*))?(?=\s|$)", re.M
)


def find_program(program: str) -> str | None:
    """Return the absolute path of a program on PATH or at a path; None if there is none."""
    path = shutil.which(str(Path(program).expanduser()))
    return None if path is None else str(Path(path).absolute())


def require_program(program: str, key: str, hint: str = "") -> str:
    """Return the absolute path of a program. Raises ConfigError if there is none."""
    path = find_program(program)
    if path is None:
        raise ConfigError(f"{key}: {program} is not a program", hint=hint or "give its path, or put it on PATH")
    return path


def interpreter_path(python: str | None) -> str:
    """Return the absolute path of ``engine.python``, by default this process's. Raises ConfigError if there is none."""
    return (
        sys.executable if python is None else require_program(python, "engine.python", "engine.python=VENV/bin/python")
    )


@lru_cache(maxsize=32)
def package_facts(interpreter: str, package: str, *files: str) -> dict[str, Any]:
    """Return ``version``, ``flags`` and ``switches`` of an interpreter's package, without importing it.

    Without ``version`` the package is not installed; without ``flags`` no file declares any. Raises ConfigError.
    """
    try:
        command = [interpreter, str(PROGRAM_FACTS), package, *files]
        process = subprocess.run(command, capture_output=True, timeout=FACTS_TIMEOUT_S, check=True)
        facts: dict[str, Any] = json.loads(process.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        text = f"cannot determine the packages of {interpreter}: {type(error).__name__}"
        raise ConfigError(text, hint="engine.python=VENV/bin/python") from error
    return facts


@lru_cache(maxsize=32)
def help_flags(*command: str) -> ProgramFlags | None:
    """Return the flags in what a program prints for ``--help``; None if it prints none."""
    text = _output(*command, "--help")
    switches = {
        name for line in HELP_LINE.finditer(text) if line["value"] is None for name in HELP_FLAG.findall(line["names"])
    }
    names = {name.replace("-", "_") for name in HELP_FLAG.findall(text)}
    return ProgramFlags(frozenset(names), frozenset(name.replace("-", "_") for name in switches)) if names else None


@lru_cache(maxsize=32)
def printed_version(command: tuple[str, ...]) -> str | None:
    """Return the version in what a command prints: its first line that has a digit, shortened; None if it has none."""
    lines = (line.strip() for line in _output(*command).splitlines())
    line = next((line for line in lines if re.search(r"\d", line)), "")
    return excerpt(printable(line), VERSION_LENGTH) or None


def served_version(url: str, headers: Mapping[str, str], *keys: str) -> str | None:
    """Return the version in the JSON that a URL answers, under the first of ``keys`` ("version"); None if unknown."""
    try:
        answer = fetch(url, headers=headers, timeout_s=ASK_TIMEOUT_S)
    except OSError:
        return None
    document = answer.json() if answer.ok else None
    for key in keys or ("version",):
        version = document.get(key) if isinstance(document, dict) else None
        if isinstance(version, str) and version:
            return excerpt(printable(version), VERSION_LENGTH)
    return None


def _output(*command: str) -> str:
    """Return what a command prints on both streams; "" if it cannot be run, or takes too long."""
    try:
        process = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=FACTS_TIMEOUT_S, text=True, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return process.stdout + process.stderr
