"""Engines: how to start or reach the server or offline engine that is measured. Each option is one file."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchhydra.engines.request_headers import variable_value
from benchhydra.engines.starts import StartCaches, StartPhases
from benchhydra.errors import ConfigError
from benchhydra.facts import fact
from benchhydra.registry import knob
from benchhydra.target import Gpus, Model, Sparsity, Target, resolve_target

PLACEHOLDER = re.compile(r"\{(?:env:(?P<variable>[^{}]+)|(?P<name>[a-z_]+))\}")
ENGINE_GPUS = fact("engine_gpus", unit="GPUs", doc="GPUs that the engine uses; unknown: absent", in_metadata=True)


def python_program(python: str | None) -> str:
    """Return the absolute path of ``engine.python``; None: this interpreter. Raises ConfigError if it is no program."""
    if python is None:
        return sys.executable
    path = Path(python).expanduser()
    program = shutil.which(str(path.absolute()) if "/" in python else python)
    if program is None:
        raise ConfigError(f"engine.python={python} is not a program", hint="engine.python=VENV/bin/python")
    return str(Path(program).absolute())


@dataclass(frozen=True, kw_only=True)
class ServerSpec:
    """How to start or reach a server or offline engine. **Points with equal specs share one process.**

    kind "http": started with ``argv``; "worker": an offline engine that exchanges JSON lines over its standard streams;
    "attached": a server at base_url that benchhydra neither starts nor stops.
    argv: with ``places_address``, ``{host}``, ``{port}`` and ``{env:NAME}`` in its words are filled in at the start;
    without it, ``--host HOST --port PORT`` is appended. gpus: of one replica. api_path: the path below the server's URL
    of its OpenAI-compatible API. ready_path: answers 2xx when the server is ready. cache_reset: how its caches are
    emptied between points, see ``servers.caches``.
    """

    kind: str
    argv: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    gpus: int = 0
    base_url: str = ""
    api_path: str = "/v1"
    verify_tls: bool = True
    ca_file: str | None = None
    places_address: bool = False
    ready_path: str = "/health"
    cache_reset: str = "vllm"

    def command(self, host: str, port: int) -> list[str]:
        """Return the words that start a server at an address. Raises ConfigError if a variable is not set."""
        if not self.places_address:
            return [*self.argv, "--host", host, "--port", str(port)]
        return [fill_variables(fill_names(word, {"host": host, "port": str(port)})) for word in self.argv]


def fill_names(word: str, values: Mapping[str, str]) -> str:
    """Return a word of a command line with ``{name}`` replaced for the names in ``values``; other braces stay."""
    return PLACEHOLDER.sub(lambda match: values.get(match["name"] or "", match[0]), word)


def fill_variables(word: str) -> str:
    """Return a word of a command line with each ``{env:NAME}`` filled in. Raises ConfigError if one is not set.

    The values are hidden in everything that is stored or shown from then on.
    """
    return PLACEHOLDER.sub(
        lambda match: variable_value(match[0], match["variable"]) if match["variable"] else match[0], word
    )


@dataclass(kw_only=True)
class Engine:
    """Base of the ``engine`` group."""

    args: dict[str, Any] = knob({}, "flags of the engine: engine.args.max_num_seqs=64")
    env: dict[str, str] = knob({}, "environment variables of the engine's process")
    ready_timeout_s: float = knob(900.0, "maximum time from the engine's start to ready", unit="s")
    stop_timeout_s: float = knob(20.0, "time between SIGTERM and SIGKILL", unit="s")

    def target(self, model: Model, sparsity: Sparsity, gpus: Gpus) -> Target:
        """Return the model as this engine loads it. Raises ConfigError or GpuUnavailable."""
        return resolve_target(model, sparsity, gpus, self.args)

    def server(self, target: Target) -> ServerSpec:
        """Return the spec of the HTTP server. Raises ConfigError if the engine has none."""
        raise ConfigError(f"{type(self).__name__} has no HTTP server", hint="engine=vllm")

    def offline(self, target: Target, *, first_token_times: bool = False) -> ServerSpec:
        """Return the spec of the offline engine. Raises ConfigError if the engine has none.

        first_token_times: make it report the time of each prompt's first token, if it can.
        """
        raise ConfigError(f"{type(self).__name__} has no offline engine", hint="script=serving, or engine=vllm")

    def gpu_count(self, target: Target) -> int | None:
        """Return the number of GPUs that the engine uses for a target; None if it uses none, or if it is unknown."""
        return target.gpus or None

    def check(self, target: Target) -> None:
        """Raise ConfigError if the engine cannot start. Called for all points of a sweep before the first start."""

    def interpreter(self) -> str:
        """Return the Python interpreter that has the engine's packages."""
        return sys.executable

    def version(self, base_url: str) -> str | None:
        """Return the engine's version; None if it is unknown."""
        return None

    def model_name(self, target: Target, base_url: str) -> str:
        """Return the model name for requests."""
        return target.served_name

    def request_headers(self) -> dict[str, str]:
        """Return the headers of every request. Secrets are read from the environment at each call and never stored."""
        return {}

    def start_caches(self, target: Target) -> StartCaches | None:
        """Return what makes a start faster than the first one on a machine; None if unknown."""
        return None

    def start_phase(self, lines: Sequence[str]) -> str:
        """Return in words what an engine that starts is doing, from its log's last lines; "" if that is unknown."""
        return ""

    def start_phases(self, log: str, started_s: float, ready_s: float) -> StartPhases:
        """Return the phases of a start from its log. started_s, ready_s: wall clock, seconds since the epoch."""
        return StartPhases()
