"""``engine=sglang``: SGLang's server from any interpreter. Written from its source of version 0.5.23; not run by CI.

``POST /flush_cache`` answers 200 only if the caches were emptied (``tokenizer_manager.flush_cache``): the proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from benchhydra.engines.command import ServerProgram
from benchhydra.engines.flags import ProgramFlags, check_flags, flag_name, flag_words
from benchhydra.engines.programs import interpreter_path, package_facts
from benchhydra.errors import ConfigError
from benchhydra.registry import knob, option
from benchhydra.target import Gpus, Model, Sparsity, Target, is_path, resolve_target

PACKAGE = "sglang"
#: The files that declare the flags, in any version.
SOURCES = ("srt/server_args.py", "srt/arg_groups/fields/*.py")
#: Flags that multiply the number of GPUs, by each of their names.
PARALLEL_SIZES = (("pp_size", "pipeline_parallel_size"), ("dp_size", "data_parallel_size"))


@option("engine", "sglang")
class SGLang(ServerProgram):
    """SGLang, started and stopped by benchhydra; any version, from any interpreter."""

    python: str | None = knob(None, "Python interpreter with SGLang; null: the one that runs benchhydra")

    cache_reset_default: ClassVar[str] = "POST /flush_cache"

    def target(self, model: Model, sparsity: Sparsity, gpus: Gpus) -> Target:
        """Return the model as SGLang loads it. Raises ConfigError or GpuUnavailable."""
        args = {flag_name(key): value for key, value in self.args.items()}
        size = args.get("tp_size", args.get("tensor_parallel_size"))
        return resolve_target(model, sparsity, gpus, args | {"tensor_parallel_size": size})

    def words(self, target: Target) -> Sequence[str]:
        """Return the words that start the server, with its metrics."""
        flags = {
            "model_path": target.model,
            "served_model_name": target.served_name or target.model,
            "tokenizer_path": target.server_tokenizer,
            "revision": target.revision,
            "dtype": target.dtype,
            "quantization": target.quantization,
            "context_length": target.max_model_len,
            "chat_template": target.chat_template,
            "tp_size": target.gpus if target.gpus > 1 else None,
            "device": "cpu" if target.device == "cpu" else None,
            "enable_metrics": True,
        }
        flags |= {flag_name(key): value for key, value in self.args.items()}
        start = [self.interpreter(), "-m", "sglang.launch_server"]
        return [*start, *flag_words(flags, self._declared()), "--host", "{host}", "--port", "{port}"]

    def environment(self, target: Target) -> dict[str, str]:
        """Return no network for a model that is a directory."""
        return {"HF_HUB_OFFLINE": "1"} if is_path(target.model) else {}

    def check(self, target: Target) -> None:
        """Raise ConfigError if there is no SGLang, or no such flag."""
        facts = self._facts()
        if "version" not in facts:
            raise ConfigError(f"{self.interpreter()} has no SGLang", hint="pip install sglang, or engine.python=PATH")
        check_flags(f"SGLang {facts['version']}", self.args, ProgramFlags.of_facts(facts))
        self.request_headers()

    def gpu_count(self, target: Target) -> int | None:
        """Return tensor x pipeline x data parallel size; None on CPU. Data parallel attention shares the GPUs."""
        args = {flag_name(key): value for key, value in self.args.items()}
        count = target.gpus
        for names in PARALLEL_SIZES:
            size = next((args[name] for name in names if args.get(name) is not None), 1)
            if not str(size).isdecimal() or int(size) < 1:
                raise ConfigError(f"engine.args.{names[0]}={size!r} is not a positive whole number")
            if not (names[0] == "dp_size" and args.get("enable_dp_attention")):
                count *= int(size)
        return count or None

    def interpreter(self) -> str:
        """Return the interpreter with SGLang."""
        return interpreter_path(self.python)

    def version(self, base_url: str) -> str | None:
        """Return the version of the interpreter's SGLang."""
        version: str | None = self._facts().get("version")
        return version

    def _facts(self) -> dict[str, Any]:
        return package_facts(self.interpreter(), PACKAGE, *SOURCES)

    def _declared(self) -> ProgramFlags | None:
        return ProgramFlags.of_facts(self._facts())
