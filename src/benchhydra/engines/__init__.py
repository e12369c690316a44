"""Engines: how to start what is measured. An option is one file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from benchhydra.engines.starts import StartCaches, StartPhases
from benchhydra.errors import ConfigError
from benchhydra.registry import knob
from benchhydra.target import Gpus, Model, Sparsity, Target, resolve_target


@dataclass(frozen=True, kw_only=True)
class ServerSpec:
    """What distinguishes one server (or offline engine process) from another. **Its equality is the reuse key.**

    kind "http": argv gets ``--host 127.0.0.1 --port N``; "worker": an offline engine that speaks JSON lines over its
    standard streams; "attached": somebody else's server at base_url, which we neither start nor stop.
    """

    kind: str
    argv: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    gpus: int = 0
    base_url: str = ""
    verify_tls: bool = True
    ca_file: str | None = None


@dataclass(kw_only=True)
class Engine:
    """Base of the ``engine`` group."""

    args: dict[str, Any] = knob({}, "flags of the engine: engine.args.max_num_seqs=64")
    env: dict[str, str] = knob({}, "environment variables of the engine's process")
    ready_timeout_s: float = knob(900.0, "longest wait for the engine to be ready", unit="s")
    stop_timeout_s: float = knob(20.0, "wait after SIGTERM before SIGKILL", unit="s")

    def target(self, model: Model, sparsity: Sparsity, gpus: Gpus) -> Target:
        """The model as this engine loads it. Raises ConfigError or GpuUnavailable."""
        return resolve_target(model, sparsity, gpus, self.args)

    def server(self, target: Target) -> ServerSpec:
        """The HTTP server to measure. Raises ConfigError where the engine has none."""
        raise ConfigError(f"{type(self).__name__} serves nothing over HTTP", hint="engine=vllm")

    def offline(self, target: Target, *, first_token_times: bool = False) -> ServerSpec:
        """The offline engine's process. Raises ConfigError where the engine has none.

        first_token_times: its answers say when each prompt had its first token, where the engine can tell.
        """
        raise ConfigError(f"{type(self).__name__} has no offline engine", hint="script=serving, or engine=vllm")

    def check(self, target: Target) -> None:
        """Raise where the engine cannot start: called for every point of a sweep before the first server starts."""

    def interpreter(self) -> str:
        """The Python that has the engine's packages."""
        return sys.executable

    def version(self, base_url: str) -> str | None:
        """The engine's version, or None where it does not say."""
        return None

    def model_name(self, target: Target, base_url: str) -> str:
        """The model name that requests carry."""
        return target.served_name

    def headers(self) -> dict[str, str]:
        """Headers of every request, with secrets read from the environment now; they are never stored."""
        return {}

    def start_caches(self, target: Target) -> StartCaches | None:
        """What makes a start faster than the first one on a machine; None where that is not known."""
        return None

    def start_phases(self, log: str, started_s: float, ready_s: float) -> StartPhases:
        """What the log of a start says about its phases. Times are of the wall clock, in seconds since the epoch."""
        return StartPhases()
