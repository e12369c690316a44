"""``engine=vllm``: vLLM from any interpreter, as an HTTP server or an offline engine. This process never imports it."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchhydra.engines import Engine, ServerSpec, vllm_log
from benchhydra.engines.programs import interpreter_path
from benchhydra.engines.starts import StartCaches, StartPhases
from benchhydra.errors import ConfigError
from benchhydra.fetch import fetch
from benchhydra.registry import knob, option
from benchhydra.target import Gpus, Model, Sparsity, Target, is_path, model_file, model_files, resolve_target

ENGINE_SIDE = Path(__file__).resolve().parents[1] / "engine_side"
FACTS_TIMEOUT_S = 30.0
#: Flags that multiply the number of GPUs, besides tensor_parallel_size.
PARALLEL_SIZES = ("pipeline_parallel_size", "data_parallel_size")
#: Flags that benchhydra sets itself.
RESERVED_FLAGS = ("host", "port", "uds")
#: Flags that take a list as one JSON word; for all others, each item is a word (as in vLLM 0.32's parser).
JSON_LISTS = ("allowed_origins", "allowed_methods", "allowed_headers")
#: Flags that take a list as one word with commas.
COMMA_LISTS = ("device_ids", "disable_access_log_for_endpoints")
#: Flags that are repeated for each item of a list.
REPEATED = ("middleware",)
#: Variables that move the compile caches of vLLM, Inductor, Triton and the CUDA driver.
COMPILE_CACHES = ("VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
HUB_TIMEOUT_S = 5.0
NO_HUB = "model=smollm2 and model=tiny need no hub; model.id=DIRECTORY takes a local model"
#: With these variables vLLM fetches models through a proxy or from ModelScope, so the hub is not checked here.
OTHER_SOURCES = re.compile(r"(https|all)_proxy$|VLLM_USE_MODELSCOPE$", re.IGNORECASE)


@option("engine", "vllm")
class Vllm(Engine):
    """vLLM, started and stopped by benchhydra; any version, from any interpreter."""

    python: str | None = knob(None, "Python interpreter with vLLM; null: the one that runs benchhydra")
    cpu_kv_cache_gib: int = knob(1, "size of the KV cache on CPU", unit="GiB")
    enforce_eager: bool | None = knob(None, "no compilation at start; null: only on CPU, where compiling takes minutes")

    def __post_init__(self) -> None:
        if isinstance(self.cpu_kv_cache_gib, int) and self.cpu_kv_cache_gib < 1:
            raise ConfigError(f"engine.cpu_kv_cache_gib={self.cpu_kv_cache_gib} must be at least 1")

    def target(self, model: Model, sparsity: Sparsity, gpus: Gpus) -> Target:
        """Return the model as vLLM loads it. Raises ConfigError or GpuUnavailable."""
        return resolve_target(model, sparsity, gpus, self.args, has_sparsity_flag=lambda: self.has_flag("sparsity"))

    def server(self, target: Target) -> ServerSpec:
        """Return the spec of vLLM's OpenAI-compatible server."""
        flags = {"served_model_name": target.served_name or target.model} | self._arguments(target)
        argv = [
            self.interpreter(),
            "-m",
            "vllm.entrypoints.openai.api_server",
            *command_line(flags, self.facts().get("switches", ())),
        ]
        return ServerSpec(
            kind="http", argv=tuple(argv), env=self._environment(target), gpus=self.gpu_count(target) or 0
        )

    def offline(self, target: Target, *, first_token_times: bool = False) -> ServerSpec:
        """Return the spec of a worker with vLLM's ``LLM``, with the same arguments as the server."""
        recorded = {"disable_log_stats": False} if first_token_times else {}  # LLM's own default: True
        arguments = recorded | self._arguments(target)
        argv = (self.interpreter(), str(ENGINE_SIDE / "offline_worker.py"), json.dumps(arguments, sort_keys=True))
        return ServerSpec(kind="worker", argv=argv, env=self._environment(target), gpus=self.gpu_count(target) or 0)

    def check(self, target: Target) -> None:
        """Raise ConfigError if vLLM cannot start: no interpreter, no vLLM, no such flag, no such model."""
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
            and not is_path(target.model)
            and not any(map(OTHER_SOURCES.match, {*os.environ, *self.env}))
        ):
            _check_hub(target.model, target.revision)

    def gpu_count(self, target: Target) -> int | None:
        """Return tensor x pipeline x data parallel size; None on CPU. Raises ConfigError if one is not a number."""
        flags = {_key(key): value for key, value in self.args.items()}
        sizes = [(name, flags[name]) for name in PARALLEL_SIZES if flags.get(name) is not None]
        for name, size in sizes:
            if not str(size).isdecimal() or int(size) < 1:
                raise ConfigError(f"engine.args.{name}={size!r} is not a positive whole number")
        return target.gpus * math.prod(int(size) for _, size in sizes) or None

    def interpreter(self) -> str:
        """Return the absolute path of the interpreter with vLLM. Raises ConfigError if it does not exist."""
        return interpreter_path(self.python)

    def version(self, base_url: str) -> str | None:
        """Return the version of the interpreter's vLLM."""
        return self.facts().get("vllm")

    def has_flag(self, name: str) -> bool:
        """Return whether the interpreter's vLLM declares a flag."""
        return name.replace("-", "_") in self.facts().get("flags", ())

    def facts(self) -> dict[str, Any]:
        """Return versions (python, vllm, torch, cuda) and flags of the interpreter's vLLM, without importing it."""
        return _facts(self.interpreter())

    def start_caches(self, target: Target) -> StartCaches:
        """Return the variables of the compile caches, and the model's files if they are on this machine."""
        return StartCaches(variables=COMPILE_CACHES, files=model_files(target.model, target.revision) or None)

    def start_phase(self, lines: Sequence[str]) -> str:
        """Return in words what a vLLM that starts is doing, from its log's last lines."""
        return vllm_log.start_phase(lines)

    def start_phases(self, log: str, started_s: float, ready_s: float) -> StartPhases:
        """Return the phases of a start, from vLLM's log."""
        return vllm_log.start_phases(log, started_s, ready_s)

    def _arguments(self, target: Target) -> dict[str, Any]:
        """Return vLLM's arguments. model < sparsity < gpus < engine.args: the later wins; null removes a flag."""
        eager = target.device == "cpu" if self.enforce_eager is None else self.enforce_eager
        computed = {
            "model": target.model,
            "tokenizer": target.server_tokenizer,
            "revision": target.revision,
            "dtype": target.dtype,
            "quantization": target.quantization,
            "max_model_len": target.max_model_len,
            "chat_template": target.chat_template,
            "sparsity": target.sparsity,
            "tensor_parallel_size": target.gpus if target.gpus > 1 else None,
            "enforce_eager": True if eager else None,
        }
        user_flags = {_key(key): value for key, value in self.args.items()}
        lowered = {"max_model_len": target.max_model_len} if user_flags.get("max_model_len") is not None else {}
        return {key: value for key, value in (computed | user_flags | lowered).items() if value is not None}

    def _environment(self, target: Target) -> tuple[tuple[str, str], ...]:
        env = {"VLLM_NO_USAGE_STATS": "1", "VLLM_SERVER_DEV_MODE": "1"}  # dev mode adds the cache resets
        if target.device == "cpu":
            env["VLLM_CPU_KVCACHE_SPACE"] = str(self.cpu_kv_cache_gib)
        if is_path(target.model):
            env["HF_HUB_OFFLINE"] = "1"
        return tuple(sorted((env | {key: str(value) for key, value in self.env.items()}).items()))

    def _check_flags(self, facts: dict[str, Any]) -> None:
        """Raise ConfigError for reserved flags and for near misses of vLLM's flags; vLLM checks all others itself."""
        flags = facts.get("flags", [])
        for name in map(_key, self.args):
            if name in RESERVED_FLAGS:
                raise ConfigError(
                    f"engine.args.{name} is set by benchhydra itself", hint="engine=attach for your own server"
                )
            if name in flags or name.removeprefix("no_") in flags:
                continue
            near = difflib.get_close_matches(name, flags, n=1, cutoff=0.8)
            if near:
                text = f"engine.args.{name}: vLLM {facts['vllm']} has no such flag"
                raise ConfigError(text, hint=f"did you mean engine.args.{near[0]}?")


def command_line(flags: Mapping[str, Any], switches: Collection[str] = ()) -> list[str]:
    """Return flags as words: ``{"max_num_seqs": 64, "enforce_eager": True}`` -> --max-num-seqs 64 --enforce-eager.

    switches: the flags without a ``--no-`` form, which are left out if they are False.
    """
    return [word for key, value in flags.items() if value or key not in switches for word in _flag_words(key, value)]


def _flag_words(key: str, value: Any) -> list[str]:
    """Return one flag as vLLM's parser expects it: each item of a list is a word (JSON is refused), a dict is JSON."""
    flag = f"--{key.replace('_', '-')}"
    if value is None or (isinstance(value, (list, tuple)) and not value and key not in JSON_LISTS):
        return []
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    if not isinstance(value, (list, tuple)) or key in JSON_LISTS:
        return [flag, _word(value)]
    items = [_word(item) for item in value]
    if key in COMMA_LISTS:
        return [flag, ",".join(items)]
    return [word for item in items for word in (flag, item)] if key in REPEATED else [flag, *items]


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (list, tuple, dict)) else str(value)


def _key(name: str) -> str:
    return name.lstrip("-").replace("-", "_")


def _check_model(target: Target) -> None:
    if target.build is not None:
        return
    if is_path(target.model):
        if not (Path(target.model).expanduser() / "config.json").is_file():
            raise ConfigError(f"model.id={target.model} contains no config.json", hint="model.id=DIRECTORY")
    elif not HUB_ID.fullmatch(target.model):
        raise ConfigError(f"model.id={target.model!r} is neither a directory nor a hub id", hint="model.id=OWNER/NAME")


@lru_cache(maxsize=256)
def _check_hub(model: str, revision: str | None) -> None:
    """Raise ConfigError if a model is neither cached nor on the hub; vLLM would need minutes to report this."""
    if model_file(model, "config.json", revision) is not None:
        return
    missing = f"model.id={model} is not in the hub's cache"
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        raise ConfigError(f"{missing}, and HF_HUB_OFFLINE forbids fetching it", hint=NO_HUB)
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    try:
        answer = fetch(f"{hub}/api/models/{model}", timeout_s=HUB_TIMEOUT_S)
    except OSError as error:
        raise ConfigError(f"{missing}, and {hub} cannot be reached ({type(error).__name__})", hint=NO_HUB) from error
    if answer.status == 404 or (answer.status == 401 and "HF_TOKEN" not in os.environ):
        raise ConfigError(
            f"{missing}, and {hub} has no such model or denies access", hint="check the id, or export HF_TOKEN=..."
        )


@lru_cache(maxsize=32)
def _facts(interpreter: str) -> dict[str, Any]:
    command = [interpreter, str(ENGINE_SIDE / "engine_facts.py")]
    try:
        process = subprocess.run(command, capture_output=True, timeout=FACTS_TIMEOUT_S, check=True)
        facts: dict[str, Any] = json.loads(process.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        text = f"cannot determine the packages of {interpreter}: {type(error).__name__}"
        raise ConfigError(text, hint="engine.python=VENV/bin/python") from error
    return facts
