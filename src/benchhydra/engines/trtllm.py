"""``engine=trtllm``: TensorRT-LLM's ``trtllm-serve``. Written from its source of version 1.2; not run by CI.

It has no request that empties its KV cache, so each point gets a new server. Its ``/metrics`` is no Prometheus text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchhydra.engines.command import ServerProgram
from benchhydra.engines.flags import ProgramFlags, check_flags, flag_name, flag_words
from benchhydra.engines.programs import find_program, interpreter_path, package_facts, require_program
from benchhydra.errors import ConfigError
from benchhydra.registry import knob, option
from benchhydra.target import Gpus, Model, Sparsity, Target, is_path, resolve_target

PACKAGE = "tensorrt_llm"
SOURCES = ("commands/serve.py",)
PROGRAM = "trtllm-serve"


@option("engine", "trtllm")
class TrtLlm(ServerProgram):
    """TensorRT-LLM's server, started and stopped by benchhydra; needs an NVIDIA GPU."""

    python: str | None = knob(None, "Python interpreter with tensorrt_llm; null: the one that runs benchhydra")

    def target(self, model: Model, sparsity: Sparsity, gpus: Gpus) -> Target:
        """Return the model as TensorRT-LLM loads it. Raises ConfigError or GpuUnavailable."""
        args = {flag_name(key): value for key, value in self.args.items()}
        size = args.get("tp_size", args.get("tensor_parallel_size"))
        return resolve_target(model, sparsity, gpus, args | {"tensor_parallel_size": size})

    def words(self, target: Target) -> Sequence[str]:
        """Return the words that start the server; its flags have underscores."""
        flags = {
            "tokenizer": target.server_tokenizer,
            "revision": target.revision,
            "max_seq_len": target.max_model_len,
            "chat_template": target.chat_template,
            "tp_size": target.gpus if target.gpus > 1 else None,
        }
        flags |= {flag_name(key): value for key, value in self.args.items()}
        words = flag_words(flags, self._declared(), separator="_")
        return [self._program(), target.model, *words, "--host", "{host}", "--port", "{port}"]

    def environment(self, target: Target) -> dict[str, str]:
        """Return no network for a model that is a directory."""
        return {"HF_HUB_OFFLINE": "1"} if is_path(target.model) else {}

    def check(self, target: Target) -> None:
        """Raise ConfigError if there is no TensorRT-LLM, no GPU, or no such flag."""
        facts = self._facts()
        if "version" not in facts:
            raise ConfigError(
                f"{self.interpreter()} has no TensorRT-LLM", hint="pip install tensorrt-llm, or engine.python=PATH"
            )
        if target.device == "cpu":
            raise ConfigError("engine=trtllm needs a GPU", hint="gpus=single")
        for name in ("dtype", "quantization"):
            if getattr(target, name) is not None:
                raise ConfigError(
                    f"model.{name}: trtllm-serve has no such flag", hint="engine.args.config=FILE.yaml holds it"
                )
        check_flags(f"TensorRT-LLM {facts['version']}", self.args, ProgramFlags.of_facts(facts))
        self._program()
        self.request_headers()

    def gpu_count(self, target: Target) -> int | None:
        """Return tensor x pipeline parallel size."""
        args = {flag_name(key): value for key, value in self.args.items()}
        size = args.get("pp_size", args.get("pipeline_parallel_size", 1))
        if not str(size).isdecimal() or int(size) < 1:
            raise ConfigError(f"engine.args.pp_size={size!r} is not a positive whole number")
        return target.gpus * int(size) or None

    def interpreter(self) -> str:
        """Return the interpreter with tensorrt_llm."""
        return interpreter_path(self.python)

    def model_name(self, target: Target, base_url: str) -> str:
        """Return the model's path or id, under which it is served."""
        return target.model

    def version(self, base_url: str) -> str | None:
        """Return the version of the interpreter's TensorRT-LLM."""
        version: str | None = self._facts().get("version")
        return version

    def _program(self) -> str:
        """Return the console script beside the interpreter, or on PATH. Raises ConfigError if there is none."""
        beside = find_program(str(Path(self.interpreter()).with_name(PROGRAM)))
        return beside or require_program(PROGRAM, "engine.python")

    def _facts(self) -> dict[str, Any]:
        return package_facts(self.interpreter(), PACKAGE, *SOURCES)

    def _declared(self) -> ProgramFlags | None:
        return ProgramFlags.of_facts(self._facts())
