"""``engine=command``: any HTTP server by its command line. ``ServerProgram`` is the base of presets for known ones."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from benchhydra.engines import PLACEHOLDER, Engine, ServerSpec, fill_names
from benchhydra.engines.request_headers import headers_from_environment, variable_value
from benchhydra.errors import ConfigError
from benchhydra.escaping import printable
from benchhydra.fetch import fetch
from benchhydra.redaction import excerpt, is_secret_name, protect
from benchhydra.registry import knob, option
from benchhydra.target import Target

PROGRAM_FACTS = Path(__file__).resolve().parents[1] / "engine_side" / "program_facts.py"
FACTS_TIMEOUT_S = 60.0
ASK_TIMEOUT_S = 5.0
VERSION_LENGTH = 100
HELP_FLAG = re.compile(r"(?<![\w-])--([a-z0-9][\w-]*)")
#: Placeholders of ``engine.command`` and what they stand for.
PLACEHOLDERS = ("host", "port", "model", "tokenizer", "served_model", "max_model_len", "gpus", "python")
#: Values of ``engine.cache_reset`` beside ``POST /path``.
RESETS = ("vllm", "llamacpp", "restart", "none")


@dataclass(kw_only=True)
class ServerProgram(Engine):
    """Base of engines that start a server by a command line. A preset says what the words are."""

    api_key_env: str | None = knob(None, "name of the environment variable with the API key that the server expects")
    headers: dict[str, str] = knob({}, "headers of every request; the values are names of environment variables")

    #: The path that answers 2xx when the server is ready.
    ready_path_default: ClassVar[str] = "/health"
    #: How the caches are emptied between points, as in ``ServerSpec.cache_reset``.
    cache_reset_default: ClassVar[str] = "restart"

    def words(self, target: Target) -> Sequence[str]:
        """Return the words that start the server, with ``{host}`` and ``{port}`` in them."""
        raise NotImplementedError

    def environment(self, target: Target) -> dict[str, str]:
        """Return variables of the server's process that benchhydra sets itself; ``engine.env`` goes before them."""
        return {}

    def server(self, target: Target) -> ServerSpec:
        """Return the spec of the server."""
        env = self.environment(target) | {key: str(value) for key, value in self.env.items()}
        return ServerSpec(
            kind="http",
            argv=tuple(self.words(target)),
            env=tuple(sorted(env.items())),
            gpus=self.gpu_count(target) or 0,
            places_address=True,
            ready_path=self.ready_path_default,
            cache_reset=self.cache_reset_default,
        )

    def request_headers(self) -> dict[str, str]:
        """Return the headers from the environment, and the API key as one. Raises ConfigError if one is missing."""
        headers = headers_from_environment(self.headers)
        if self.api_key_env is None:
            return headers
        return {"Authorization": f"Bearer {variable_value('engine.api_key_env', self.api_key_env)}", **headers}


@option("engine", "command")
class CommandLine(ServerProgram):
    """Any HTTP server, started by ``engine.command`` and stopped by benchhydra."""

    command: list[str] = knob(
        [],
        "the words that start the server; {host}, {port}, {model}, {tokenizer}, {served_model}, {max_model_len}, "
        "{gpus}, {python} and {env:NAME} are filled in",
    )
    path: str = knob("/v1", "path of the server's OpenAI-compatible API")
    ready_path: str = knob("/health", "path that answers 2xx once the server is ready")
    cache_reset: str = knob(
        "restart",
        "how caches are emptied between points: restart; none (not proven: SUSPECT); vllm or llamacpp (their requests "
        "and proofs); 'POST /path' (2xx means emptied)",
    )
    version_command: list[str] = knob([], "words that print the server's version: [my-server,--version]")
    served_model: str | None = knob(None, "model name in requests; null: model.id")

    def __post_init__(self) -> None:
        if self.cache_reset not in RESETS and not self.cache_reset.startswith(("POST /", "GET /")):
            raise ConfigError(
                f"engine.cache_reset={self.cache_reset} is not allowed",
                hint=f"one of {', '.join(RESETS)}, or 'POST /path'",
            )
        if not self.ready_path.startswith("/"):
            raise ConfigError(f"engine.ready_path={self.ready_path} must begin with a /")
        refuse_secrets("engine.command", self.command)
        refuse_secrets("engine.version_command", self.version_command)

    def check(self, target: Target) -> None:
        """Raise ConfigError if there is no command, it takes no port, a placeholder is unknown, or no such program."""
        if not self.command:
            raise ConfigError(
                "engine=command needs the words that start the server",
                hint="'engine.command=[my-server,--model,{model},--port,{port}]'",
            )
        text = " ".join(self.command)
        if "{port}" not in text:
            raise ConfigError("engine.command has no {port}", hint="benchhydra chooses a free port: --port,{port}")
        for match in PLACEHOLDER.finditer(text):
            if match["variable"] is None and match["name"] not in PLACEHOLDERS:
                known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
                raise ConfigError(
                    f"engine.command: no such placeholder: {match[0]}", hint=f"one of {known}, {{env:NAME}}"
                )
        require_program(self.words(target)[0], "engine.command")
        self.request_headers()

    def words(self, target: Target) -> Sequence[str]:
        """Return the command with what is known of the target; the address follows at the start."""
        values = {
            "model": target.model,
            "tokenizer": target.tokenizer,
            "served_model": self.model_name(target, ""),
            "max_model_len": str(target.max_model_len or ""),
            "gpus": str(target.gpus),
            "python": sys.executable,
        }
        return [fill_names(word, values) for word in self.command]

    def server(self, target: Target) -> ServerSpec:
        """Return the spec of the server."""
        spec = super().server(target)
        return replace(spec, api_path=self.path, ready_path=self.ready_path, cache_reset=self.cache_reset)

    def model_name(self, target: Target, base_url: str) -> str:
        """Return the model name for requests."""
        return self.served_model or target.served_name

    def version(self, base_url: str) -> str | None:
        """Return what ``version_command`` prints, or the answer of ``/version``; None if neither tells."""
        if self.version_command:
            return printed_version(tuple(self.version_command))
        return served_version(f"{base_url}/version", self.request_headers())


def refuse_secrets(key: str, words: Sequence[str]) -> None:
    """Raise ConfigError if a command line holds a secret, as ``--api-key VALUE`` or ``--api-key=VALUE``."""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        value = value if equals else following
        if name.startswith("--") and is_secret_name(name) and value and not PLACEHOLDER.search(value):
            protect([value])
            variable = name.lstrip("-").replace("-", "_").upper()
            raise ConfigError(
                f"{key}: {name} has a secret as its value, and results contain the config",
                hint=f"export {variable}=... and {name},'{{env:{variable}}}'",
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
    """Return ``version`` and ``flags`` of an interpreter's package, without importing it. Raises ConfigError.

    Without ``version`` the package is not installed; without ``flags`` no file declares any.
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
def help_flags(*command: str) -> frozenset[str] | None:
    """Return the flags, with underscores, in what a program prints for ``--help``; None if it prints none."""
    text = _output(*command, "--help")
    names = {name.replace("-", "_") for name in HELP_FLAG.findall(text)}
    return frozenset(names) or None


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
