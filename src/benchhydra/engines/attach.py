"""``engine=attach``: a server that already runs; benchhydra neither starts, configures nor stops it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchhydra.engines import Engine, ServerSpec, check_cache_reset
from benchhydra.engines.programs import VERSION_LENGTH
from benchhydra.engines.request_headers import headers_from_environment, variable_value
from benchhydra.errors import ConfigError, EngineError
from benchhydra.escaping import printable
from benchhydra.fetch import below_api_path, check_base_url, fetch, split_api_path
from benchhydra.redaction import excerpt
from benchhydra.registry import knob, option
from benchhydra.target import Gpus, Model, Sparsity, Target, resolve_target

#: So much of a name that a server tells is shown in a message.
MODEL_NAME_LENGTH = 100
#: What users paste with the URL, and the API adds to it.
ENDPOINTS = ("/chat/completions", "/completions")
#: Values of ``engine.cache_reset`` beside ``POST /path``: benchhydra cannot start this server again.
RESETS = ("vllm", "llamacpp", "none")


@option("engine", "attach")
class Attach(Engine):
    """A running OpenAI-compatible server, which benchhydra neither starts nor stops."""

    base_url: Any = knob(
        "http://127.0.0.1:8000", "URL of the server; a list: of servers that share the load: [URL,URL]"
    )
    path: str | None = knob(
        None,
        "path of the API below base_url: /v1, /api/v3, /v1beta/openai, '' for none; null: the version at the end of "
        "base_url, else /v1",
    )
    api_key_env: str | None = knob(None, "name of the environment variable with the API key")
    headers: dict[str, str] = knob(
        {},
        "headers of every request, by name; the values are names of environment variables: engine.headers.api-key=KEY",
    )
    served_model: str | None = knob(None, "model name in requests; null: model.id, or the only one served")
    gpus: int | None = knob(None, "GPUs of the server, for tokens/s per GPU; null: unknown", unit="GPUs")
    verify_tls: bool = knob(True, "check the server's certificate")
    ca_file: str | None = knob(None, "file with CA certificates to trust instead of the system's")
    cache_reset: str = knob(
        "vllm",
        "how the server's caches are emptied between points: vllm or llamacpp (with proof), 'POST /path' (2xx means "
        "emptied), none (not proven: SUSPECT)",
    )
    keep_alive: bool = knob(True, "use a connection again after an answer; false for llama.cpp, see docs/engines.md")
    ready_timeout_s: float = knob(
        10.0, "maximum time to wait for a server that refuses connections, or answers 502 or 503", unit="s"
    )

    def __post_init__(self) -> None:
        servers = [self._split_url(url) for url in self._urls()]
        if len(set(servers)) < len(servers):
            raise ConfigError(f"engine.base_url={self.base_url} names a server twice", hint="each URL once")
        if len({path for _, path in servers}) > 1:
            raise ConfigError("engine.base_url: the servers have different paths", hint="engine.path=/v1")
        check_cache_reset(self.cache_reset, RESETS)
        if self.args or self.env:
            text = "engine=attach starts nothing: engine.args and engine.env have no effect"
            raise ConfigError(text, hint="leave them out, or engine=vllm")
        if isinstance(self.gpus, int) and self.gpus < 1:
            raise ConfigError(f"engine.gpus={self.gpus} must be at least 1", hint="leave it out if it is unknown")

    def target(self, model: Model, sparsity: Sparsity, gpus: Gpus) -> Target:
        """Return the model by name. Without GPUs, because those of the server are unknown."""
        return resolve_target(model, sparsity, Gpus(device="cpu", count=0), {}, has_sparsity_flag=lambda: True)

    def server(self, target: Target) -> ServerSpec:
        """Return the spec of the server at base_url. Raises ConfigError for an invalid URL."""
        base_url, api_path = self._split_url()
        urls = self.base_urls()
        return ServerSpec(
            kind="attached",
            base_url=base_url,
            base_urls=urls if len(urls) > 1 else (),
            api_path=api_path,
            verify_tls=self.verify_tls,
            ca_file=self.ca_file,
            cache_reset=self.cache_reset,
        )

    def weights(self, target: Target) -> str | None:
        """Return None: what the server has loaded is unknown."""
        return None

    def gpu_count(self, target: Target) -> int | None:
        """Return the number of GPUs that the user has named."""
        return self.gpus

    def check(self, target: Target) -> None:
        """Raise ConfigError if the API key, the value of a header or the file of certificates is missing."""
        self.request_headers()
        if self.ca_file is not None and not Path(self.ca_file).is_file():
            raise ConfigError(f"engine.ca_file={self.ca_file}: no such file")

    def request_headers(self) -> dict[str, str]:
        """Return the headers from the environment, and the API key as one. Raises ConfigError if one is missing."""
        headers = headers_from_environment(self.headers)
        if self.api_key_env is None:
            return headers
        if "authorization" in map(str.lower, headers):
            raise ConfigError("engine.api_key_env and engine.headers.Authorization exclude each other")
        return {"Authorization": f"Bearer {variable_value('engine.api_key_env', self.api_key_env)}", **headers}

    def reuses_connections(self) -> bool:
        """Return ``engine.keep_alive``."""
        return self.keep_alive

    def version(self, base_url: str) -> str | None:
        """Return the version from ``/version``; None if the server does not report one."""
        answer = self._get(base_url, "/version")
        version = answer.get("version") if isinstance(answer, dict) else None
        return excerpt(printable(version), VERSION_LENGTH) if isinstance(version, str) and version else None

    def model_name(self, target: Target, base_url: str) -> str:
        """Return the model name for requests: ``served_model``, or the target's, or the only one served.

        Raises EngineError if a server lists its models and does not serve that one, or servers call theirs differently.
        """
        urls = self.base_urls()
        names = [self._model_name(target, url) for url in (urls if len(urls) > 1 else [base_url])]
        if len(set(names)) > 1:
            pairs = ", ".join(f"{url}: {_shown(name)}" for url, name in zip(urls, names, strict=True))
            raise EngineError(f"the servers do not serve the same model ({pairs})", hint="engine.served_model=NAME")
        return names[0]

    def base_urls(self) -> tuple[str, ...]:
        """Return the URLs of all servers, without the path of the API."""
        return tuple(self._split_url(url)[0] for url in self._urls())

    def _model_name(self, target: Target, base_url: str) -> str:
        served = self._served_models(base_url)
        name = self.served_model or target.served_name
        if name in served or not served:
            return name
        if self.served_model is None and len(served) == 1:
            return served[0]
        text = f"{base_url} does not serve {name}; it serves {', '.join(map(_shown, served))}"
        raise EngineError(text, hint="engine.served_model=NAME")

    def _served_models(self, base_url: str) -> list[str]:
        answer = self._get(base_url, below_api_path(self._split_url()[1], "/models"))
        models = answer.get("data") if isinstance(answer, dict) else None
        listed = models if isinstance(models, list) else []
        return [m["id"] for m in listed if isinstance(m, dict) and isinstance(m.get("id"), str)]

    def _urls(self) -> list[str]:
        """Return the URLs of all servers. Raises ConfigError if there is none, or one is no text."""
        urls = self.base_url if isinstance(self.base_url, (list, tuple)) else [self.base_url]
        if not urls or not all(isinstance(url, str) for url in urls):
            raise ConfigError(
                f"engine.base_url={self.base_url} is neither a URL nor a list of URLs",
                hint="engine.base_url=http://HOST:PORT, or 'engine.base_url=[http://A:PORT,http://B:PORT]'",
            )
        return list(urls)

    def _split_url(self, url: str = "") -> tuple[str, str]:
        """Return a server's URL (by default the first's), and the path below it of the API. Raises ConfigError."""
        url = url or self._urls()[0]
        for key, value in (("base_url", url), ("path", self.path or "")):
            end = next((end for end in ENDPOINTS if value.partition("?")[0].rstrip("/").endswith(end)), "")
            if end:
                raise ConfigError(
                    f"engine.{key}={value}: {end} is added by the API",
                    hint=f"leave {end} out, and choose api=chat or another",
                )
        return split_api_path(check_base_url("engine.base_url", url), self.path)

    def _get(self, base_url: str, path: str) -> Any:
        """Return the JSON of a response; None if there is no response, an error status, or no JSON."""
        try:
            answer = fetch(
                base_url + path,
                headers=self.request_headers(),
                timeout_s=5.0,
                verify_tls=self.verify_tls,
                ca_file=self.ca_file,
            )
        except OSError:
            return None
        return answer.json() if answer.ok else None


def _shown(model: str) -> str:
    """Return a model's name as a server tells it, for a message."""
    return excerpt(printable(model), MODEL_NAME_LENGTH)
