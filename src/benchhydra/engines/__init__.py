"""Engines: how to start or reach the server or offline engine that is measured. Each option is one file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchhydra.engines.placeholders import fill_free_ports, fill_names, fill_variables
from benchhydra.engines.routers import ROUTERS
from benchhydra.engines.starts import StartCaches, StartPhases
from benchhydra.errors import ConfigError
from benchhydra.facts import fact
from benchhydra.registry import knob
from benchhydra.target import Gpus, Model, Sparsity, Target, resolve_target, weights_type

#: How requests are dealt to replicas without a router.
DEALS = ("round_robin", "session")
WEIGHTS = fact("weights", unit="type", doc="quantization or data type of the model's weights", in_metadata=True)
MIXED_VERSIONS = fact(
    "mixed_versions", unit="versions", doc="versions of the servers that share a load, if they differ", in_metadata=True
)
ENGINE_GPUS = fact("engine_gpus", unit="GPUs", doc="GPUs that the engine uses; unknown: absent", in_metadata=True)


def check_cache_reset(how: str, names: Sequence[str]) -> None:
    """Raise ConfigError if ``engine.cache_reset`` is none of ``names`` and no request: ``POST /path``."""
    if how not in names and not how.startswith(("POST /", "GET /")):
        raise ConfigError(
            f"engine.cache_reset={how} is not allowed", hint=f"one of {', '.join(names)}, or 'POST /path'"
        )


@dataclass(frozen=True, kw_only=True)
class ServerSpec:
    """How to start or reach a server or offline engine. **Points with equal specs share one process.**

    kind "http": started with ``argv``; "worker": an offline engine that exchanges JSON lines over its standard streams;
    "attached": a server at base_url that benchhydra neither starts nor stops.
    argv: with ``places_address``, ``{host}``, ``{port}``, ``{free_port}`` (another free port at each place) and
    ``{env:NAME}`` in its words are filled in at the start; without it, ``--host HOST --port PORT`` is appended. gpus:
    of one replica. api_path: the path below the server's URL of its OpenAI-compatible API. ready_path: answers 2xx when
    the server is ready. cache_reset: how its caches are emptied between points, see ``servers.caches``. config_file,
    config_text: a file that is written before the start, with ``{host}``, ``{port}`` and ``{config}`` (its path) filled
    in. base_urls: all URLs of an attached server with replicas.
    replicas: the specs of all servers, if there are several; router: the words that start the router in front of them
    (``{urls}``: the servers' URLs as words, ``{url0}``: one of them), router_config: its file, at ``{config}``.
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
    config_file: str = ""
    config_text: str = ""
    base_urls: tuple[str, ...] = ()
    replicas: tuple[ServerSpec, ...] = ()
    router: tuple[str, ...] = ()
    router_ready_path: str = "/health"
    router_config: str = ""

    def command(self, host: str, port: int) -> list[str]:
        """Return the words that start a server at an address. Raises ConfigError if a variable is not set."""
        if not self.places_address:
            return [*self.argv, "--host", host, "--port", str(port)]
        words = [fill_variables(fill_names(word, {"host": host, "port": str(port)})) for word in self.argv]
        return fill_free_ports(words, without=port)


@dataclass(kw_only=True)
class Engine:
    """Base of the ``engine`` group."""

    args: dict[str, Any] = knob({}, "flags of the engine: engine.args.max_num_seqs=64")
    env: dict[str, str] = knob({}, "environment variables of the engine's process")
    ready_timeout_s: float = knob(900.0, "maximum time from the engine's start to ready", unit="s")
    stop_timeout_s: float = knob(20.0, "time between SIGTERM and SIGKILL", unit="s")
    replicas: int = knob(1, "servers of this kind, each on GPUs of its own, that share the load", unit="servers")
    replica_args: list[dict[str, Any]] = knob([], "flags of each replica, in addition to engine.args: [{a: 1},{a: 2}]")
    replica_env: list[dict[str, str]] = knob([], "environment variables of each replica, in addition to engine.env")
    deal: str = knob(
        "round_robin",
        "which replica gets a request if there is no router: each in turn, or all of a session the same",
        choices=DEALS,
    )
    router: str | None = knob(
        None, f"router that is started in front of the replicas: {', '.join(ROUTERS)}; null: the load generator deals"
    )
    router_args: dict[str, Any] = knob({}, "flags of the router: engine.router_args.policy=cache_aware")
    router_command: list[str] = knob(
        [], "words that start any other router, with {urls} (or {url0}, {url1}, ...), {host} and {port}"
    )

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

    def weights(self, target: Target) -> str | None:
        """Return the quantization or data type of the weights that the engine computes with; None if it is unknown."""
        return weights_type(target)

    def model_name(self, target: Target, base_url: str) -> str:
        """Return the model name for requests."""
        return target.served_name

    def request_headers(self) -> dict[str, str]:
        """Return the headers of every request. Secrets are read from the environment at each call and never stored."""
        return {}

    def reuses_connections(self) -> bool:
        """Return whether a connection may be used again after an answer."""
        return True

    def start_caches(self, target: Target) -> StartCaches | None:
        """Return what makes a start faster than the first one on a machine; None if unknown."""
        return None

    def start_phase(self, lines: Sequence[str]) -> str:
        """Return in words what an engine that starts is doing, from its log's last lines; "" if that is unknown."""
        return ""

    def start_phases(self, log: str, started_s: float, ready_s: float) -> StartPhases:
        """Return the phases of a start from its log. started_s, ready_s: wall clock, seconds since the epoch."""
        return StartPhases()


def versions(engine: Engine, base_urls: Sequence[str]) -> tuple[str, ...]:
    """Return the different versions of the servers at some URLs, one that is not told as "unknown"; () if none is."""
    by_server = [engine.version(url) for url in base_urls]
    return tuple(dict.fromkeys(version or "unknown" for version in by_server)) if any(by_server) else ()
