"""``engine=attach``: a server that already runs; benchhydra neither starts, configures nor stops it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benchhydra.engines import Engine, ServerSpec
from benchhydra.errors import ConfigError, EngineError
from benchhydra.fetch import check_base_url, fetch
from benchhydra.registry import knob, option
from benchhydra.target import Gpus, Model, Sparsity, Target, resolve_target


@option("engine", "attach")
class Attach(Engine):
    """A running OpenAI-compatible server, which benchhydra neither starts nor stops."""

    base_url: str = knob("http://127.0.0.1:8000", "URL of the server")
    api_key_env: str | None = knob(None, "name of the environment variable with the API key")
    served_model: str | None = knob(None, "model name in requests; null: model.id, or the only one served")
    verify_tls: bool = knob(True, "check the server's certificate")
    ca_file: str | None = knob(None, "file with CA certificates to trust instead of the system's")

    def __post_init__(self) -> None:
        check_base_url("engine.base_url", self.base_url)
        if self.args or self.env:
            text = "engine=attach starts nothing: engine.args and engine.env have no effect"
            raise ConfigError(text, hint="leave them out, or engine=vllm")

    def target(self, model: Model, sparsity: Sparsity, gpus: Gpus) -> Target:
        """Return the model by name. Without GPUs, because those of the server are unknown."""
        return resolve_target(model, sparsity, Gpus(device="cpu", count=0), {}, has_sparsity_flag=lambda: True)

    def server(self, target: Target) -> ServerSpec:
        """Return the spec of the server at base_url. Raises ConfigError for an invalid URL."""
        base_url = check_base_url("engine.base_url", self.base_url)
        return ServerSpec(kind="attached", base_url=base_url, verify_tls=self.verify_tls, ca_file=self.ca_file)

    def check(self, target: Target) -> None:
        """Raise ConfigError if the API key or the file of certificates is missing."""
        self.headers()
        if self.ca_file is not None and not Path(self.ca_file).is_file():
            raise ConfigError(f"engine.ca_file={self.ca_file}: no such file")

    def headers(self) -> dict[str, str]:
        """Return the API key as a header. Raises ConfigError if the environment variable is not set."""
        if self.api_key_env is None:
            return {}
        key = os.environ.get(self.api_key_env)
        if not key:
            text = f"engine.api_key_env={self.api_key_env}: this environment variable is not set"
            raise ConfigError(text, hint=f"export {self.api_key_env}=KEY")
        return {"Authorization": f"Bearer {key}"}

    def version(self, base_url: str) -> str | None:
        """Return the version from ``/version``; None if the server does not report one."""
        answer = self._get(base_url, "/version")
        version = answer.get("version") if isinstance(answer, dict) else None
        return version if isinstance(version, str) else None

    def model_name(self, target: Target, base_url: str) -> str:
        """Return the model name for requests: ``served_model``, or the target's, or the only one served.

        Raises EngineError if the server lists its models and does not serve that one.
        """
        served = self._served_models(base_url)
        name = self.served_model or target.served_name
        if name in served or not served:
            return name
        if self.served_model is None and len(served) == 1:
            return served[0]
        text = f"{base_url} does not serve {name}; it serves {', '.join(served)}"
        raise EngineError(text, hint="engine.served_model=NAME")

    def _served_models(self, base_url: str) -> list[str]:
        answer = self._get(base_url, "/v1/models")
        models = answer.get("data") if isinstance(answer, dict) else None
        return [m["id"] for m in models or [] if isinstance(m, dict) and isinstance(m.get("id"), str)]

    def _get(self, base_url: str, path: str) -> Any:
        """Return the JSON of a response; None if there is no response, an error status, or no JSON."""
        try:
            answer = fetch(
                base_url + path, headers=self.headers(), timeout_s=5.0, verify_tls=self.verify_tls, ca_file=self.ca_file
            )
        except OSError:
            return None
        return answer.json() if answer.ok else None
