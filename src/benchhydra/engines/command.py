"""``engine=command``: any HTTP server by its command line. ``ServerProgram`` is the base of presets for known ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from benchhydra.engines import Engine, ServerSpec, check_cache_reset
from benchhydra.engines.placeholders import PLACEHOLDER, fill_names, refuse_secrets
from benchhydra.engines.programs import printed_version, require_program, served_version
from benchhydra.engines.request_headers import headers_from_environment, variable_value
from benchhydra.errors import ConfigError
from benchhydra.registry import knob, option
from benchhydra.target import Target

#: Placeholders of ``engine.command`` and what they stand for.
PLACEHOLDERS = ("host", "port", "free_port", "model", "tokenizer", "served_model", "max_model_len", "gpus", "python")
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
        "the words that start the server; {host}, {port}, {free_port}, {model}, {tokenizer}, {served_model}, "
        "{max_model_len}, {gpus}, {python} and {env:NAME} are filled in",
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
    keep_alive: bool = knob(True, "use a connection again after an answer")

    def __post_init__(self) -> None:
        check_cache_reset(self.cache_reset, RESETS)
        if not self.ready_path.startswith("/"):
            raise ConfigError(f"engine.ready_path={self.ready_path} must begin with a /")
        refuse_secrets("engine.command", self.command)
        refuse_secrets("engine.version_command", self.version_command)

    def check(self, target: Target) -> None:
        """Raise ConfigError if there is no command, it takes no port, a placeholder is unknown, or no such program."""
        if not self.command:
            raise ConfigError(
                "engine=command needs the words that start the server",
                hint="\"engine.command=[my-server,--model,'{model}',--port,'{port}']\"",
            )
        text = " ".join(self.command)
        if "{port}" not in text:
            raise ConfigError("engine.command has no {port}", hint="benchhydra chooses a free port: --port,{port}")
        for match in PLACEHOLDER.finditer(text):
            if match["variable"] is None and match["name"] not in PLACEHOLDERS:
                names = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
                raise ConfigError(
                    f"engine.command: no such placeholder: {match[0]}", hint=f"one of {names}, {{env:NAME}}"
                )
        require_program(self.words(target)[0], "engine.command")
        self.request_headers()

    def words(self, target: Target) -> Sequence[str]:
        """Return the command with what is known of the target; the address follows at the start."""
        values = {
            "model": target.model,
            "tokenizer": target.server_tokenizer or target.model,
            "served_model": self.model_name(target, ""),
            "max_model_len": str(target.max_model_len or ""),
            "gpus": str(target.gpus),
            "python": sys.executable,
        }
        return [fill_names(word, values) for word in self.command]

    def weights(self, target: Target) -> str | None:
        """Return None: no placeholder tells the server a type, so what it loads is unknown."""
        return None

    def server(self, target: Target) -> ServerSpec:
        """Return the spec of the server."""
        spec = super().server(target)
        return replace(spec, api_path=self.path, ready_path=self.ready_path, cache_reset=self.cache_reset)

    def model_name(self, target: Target, base_url: str) -> str:
        """Return the model name for requests."""
        return self.served_model or target.served_name

    def reuses_connections(self) -> bool:
        """Return ``engine.keep_alive``."""
        return self.keep_alive

    def version(self, base_url: str) -> str | None:
        """Return what ``version_command`` prints, or the answer of ``/version``; None if neither tells."""
        if self.version_command:
            return printed_version(tuple(self.version_command))
        return served_version(f"{base_url}/version", self.request_headers())
