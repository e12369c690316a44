"""``engine=vllm``: vLLM from any interpreter, as an HTTP server or as an offline engine. It is never imported here."""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchhydra.engines import Engine, ServerSpec
from benchhydra.errors import ConfigError
from benchhydra.fetch import fetch
from benchhydra.registry import knob, option
from benchhydra.target import Gpus, Model, Sparsity, Target, model_file, resolve_target

ENGINE_SIDE = Path(__file__).resolve().parents[1] / "engine_side"
PROBE_TIMEOUT_S = 30.0
#: Flags that are ours to choose.
OURS = ("host", "port", "uds")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")

HUB_TIMEOUT_S = 5.0
NO_HUB = "model=smollm2 and model=tiny need no hub; model.id=DIRECTORY takes a local model"
#: Variables by which models come another way than by asking the hub directly, which is left to vLLM to judge.
ELSEWHERE = re.compile(r"(https|all)_proxy$|VLLM_USE_MODELSCOPE$", re.IGNORECASE)


@option("engine", "vllm")
class Vllm(Engine):
    """vLLM, started and stopped here; any version, from any interpreter."""

    python: str | None = knob(None, "interpreter that has vLLM; null: our own")
    cpu_kv_cache_gib: int = knob(1, "KV cache on CPU", unit="GiB")
    enforce_eager: bool | None = knob(None, "no compilation at start; null: on CPU only, where compiling takes minutes")

    def __post_init__(self) -> None:
        if isinstance(self.cpu_kv_cache_gib, int) and self.cpu_kv_cache_gib < 1:
            raise ConfigError(f"engine.cpu_kv_cache_gib={self.cpu_kv_cache_gib} must be at least 1")

    def target(self, model: Model, sparsity: Sparsity, gpus: Gpus) -> Target:
        """The model as vLLM loads it. Raises ConfigError or GpuUnavailable."""
        return resolve_target(model, sparsity, gpus, self.args, has_sparsity_flag=lambda: self.has_flag("sparsity"))

    def server(self, target: Target) -> ServerSpec:
        """vLLM's OpenAI-compatible server."""
        flags = {"served_model_name": target.served_name or target.model} | self._arguments(target)
        argv = [self.interpreter(), "-m", "vllm.entrypoints.openai.api_server", *command_line(flags)]
        return ServerSpec(kind="http", argv=tuple(argv), env=self._environment(target), gpus=target.gpus)

    def offline(self, target: Target) -> ServerSpec:
        """A worker that holds vLLM's LLM, with the same arguments as the server."""
        arguments = {key: value for key, value in self._arguments(target).items() if value is not None}
        argv = (self.interpreter(), str(ENGINE_SIDE / "offline_worker.py"), json.dumps(arguments, sort_keys=True))
        return ServerSpec(kind="worker", argv=argv, env=self._environment(target), gpus=target.gpus)

    def check(self, target: Target) -> None:
        """Raise ConfigError where vLLM cannot start: no interpreter, no vLLM, no such flag, no such model."""
        facts = self.facts()
        if "vllm" not in facts:
            raise ConfigError(
                f"{self.interpreter()} has no vLLM",
                hint="pip install 'benchhydra[gpu]' or 'benchhydra[cpu]', engine.python=PATH, or engine=fake",
            )
        self._check_flags(facts)
        _check_model(target)
        if (
            target.build is None
            and not _is_path(target.model)
            and not any(map(ELSEWHERE.match, {*os.environ, *self.env}))
        ):
            _check_hub(target.model, target.revision)

    def interpreter(self) -> str:
        """The Python that has vLLM. Raises ConfigError where there is no such program."""
        if self.python is None:
            return sys.executable
        found = shutil.which(str(Path(self.python).expanduser()))
        if found is None:
            raise ConfigError(f"engine.python={self.python} is not a program", hint="engine.python=VENV/bin/python")
        return str(Path(found).absolute())

    def version(self, base_url: str) -> str | None:
        """The version of that interpreter's vLLM."""
        return self.facts().get("vllm")

    def has_flag(self, name: str) -> bool:
        """Whether that interpreter's vLLM declares a flag."""
        return name.replace("-", "_") in self.facts().get("flags", ())

    def facts(self) -> dict[str, Any]:
        """Versions (python, vllm, torch, cuda) and flags of that interpreter, without importing vLLM."""
        return _facts(self.interpreter())

    def _arguments(self, target: Target) -> dict[str, Any]:
        """model < sparsity < gpus < engine.args: what is named later wins; null takes a flag away."""
        eager = target.device == "cpu" if self.enforce_eager is None else self.enforce_eager
        computed = {
            "model": target.model,
            "tokenizer": target.tokenizer if target.tokenizer != target.model else None,
            "revision": target.revision,
            "dtype": target.dtype,
            "quantization": target.quantization,
            "max_model_len": target.max_model_len,
            "chat_template": target.chat_template,
            "sparsity": target.sparsity,
            "tensor_parallel_size": target.gpus if target.gpus > 1 else None,
            "enforce_eager": True if eager else None,
        }
        named = {_key(key): value for key, value in self.args.items()}
        lowered = {"max_model_len": target.max_model_len} if named.get("max_model_len") is not None else {}
        return {key: value for key, value in (computed | named | lowered).items() if value is not None}

    def _environment(self, target: Target) -> tuple[tuple[str, str], ...]:
        env = {"VLLM_NO_USAGE_STATS": "1", "VLLM_SERVER_DEV_MODE": "1"}  # dev mode has the cache resets
        if target.device == "cpu":
            env["VLLM_CPU_KVCACHE_SPACE"] = str(self.cpu_kv_cache_gib)
        if _is_path(target.model):
            env["HF_HUB_OFFLINE"] = "1"
        return tuple(sorted((env | {key: str(value) for key, value in self.env.items()}).items()))

    def _check_flags(self, facts: dict[str, Any]) -> None:
        """Refuse what is surely wrong: our own flags, and near misses of real ones (vLLM judges the rest)."""
        for name in map(_key, self.args):
            if name in OURS:
                raise ConfigError(
                    f"engine.args.{name} is chosen by benchhydra", hint="engine=attach for your own server"
                )
            known = facts.get("flags", [])
            if name in known or name.removeprefix("no_") in known:
                continue
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            if near:
                text = f"engine.args.{name}: vLLM {facts['vllm']} has no such flag"
                raise ConfigError(text, hint=f"did you mean engine.args.{near[0]}?")


def command_line(flags: dict[str, Any]) -> list[str]:
    """``{"max_num_seqs": 64, "enforce_eager": True}`` -> ``["--max-num-seqs", "64", "--enforce-eager"]``."""
    words: list[str] = []
    for key, value in flags.items():
        flag = key.replace("_", "-")
        if value is True or value is False:
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, (list, tuple, dict)):
            words += [f"--{flag}", json.dumps(value)]
        elif value is not None:
            words += [f"--{flag}", str(value)]
    return words


def _key(name: str) -> str:
    return name.lstrip("-").replace("-", "_")


def _is_path(model: str) -> bool:
    return model.startswith(("/", "./", "../", "~")) or Path(model).is_dir()


def _check_model(target: Target) -> None:
    if target.build is not None:
        return
    if _is_path(target.model):
        if not (Path(target.model).expanduser() / "config.json").is_file():
            raise ConfigError(f"model.id={target.model}: no model there (no config.json)", hint="model.id=DIRECTORY")
    elif not HUB_ID.fullmatch(target.model):
        raise ConfigError(f"model.id={target.model!r} is neither a directory nor a hub id", hint="model.id=OWNER/NAME")


@lru_cache(maxsize=256)
def _check_hub(model: str, revision: str | None) -> None:
    """Raise ConfigError where a hub's model is neither in the cache nor to be had, which vLLM takes minutes to say."""
    if model_file(model, "config.json", revision) is not None:
        return
    missing = f"model.id={model} is not in the hub's cache"
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        raise ConfigError(f"{missing}, and HF_HUB_OFFLINE forbids to look further", hint=NO_HUB)
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    try:
        answer = fetch(f"{hub}/api/models/{model}", timeout_s=HUB_TIMEOUT_S)
    except OSError as error:
        raise ConfigError(f"{missing}, and {hub} cannot be reached ({type(error).__name__})", hint=NO_HUB) from error
    if answer.status == 404 or (answer.status == 401 and "HF_TOKEN" not in os.environ):
        raise ConfigError(
            f"{missing}, and {hub} has no such model for you", hint="check the id, or export HF_TOKEN=..."
        )


@lru_cache(maxsize=32)
def _facts(interpreter: str) -> dict[str, Any]:
    command = [interpreter, str(ENGINE_SIDE / "engine_facts.py")]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_TIMEOUT_S, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        text = f"{interpreter} cannot be asked for its packages: {type(error).__name__}"
        raise ConfigError(text, hint="engine.python=VENV/bin/python") from error
    return found
