"""``engine=llamacpp``: llama.cpp's server, from the Python package xllamacpp or as the program ``llama-server``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchhydra import gguf
from benchhydra.engine_side import llamacpp_server
from benchhydra.engines import ServerSpec
from benchhydra.engines.command import ServerProgram
from benchhydra.engines.flags import ProgramFlags, check_flags, flag_name, flag_words
from benchhydra.engines.placeholders import refuse_secrets
from benchhydra.engines.programs import (
    find_program,
    help_flags,
    interpreter_path,
    package_facts,
    printed_version,
    require_program,
)
from benchhydra.errors import ConfigError
from benchhydra.registry import knob, option
from benchhydra.target import GGUF_BUILDS, Gpus, Model, Sparsity, Target, built_path, cache_directory, resolve_target

SERVER = Path(llamacpp_server.__file__).resolve()
PACKAGE = "xllamacpp"
LLAMA_SERVER = "llama-server"
NO_LLAMACPP = "pip install 'benchhydra[llamacpp]', engine.python=PATH, or engine.program=[PATH/llama-server]"


@option("engine", "llamacpp")
class LlamaCpp(ServerProgram):
    """llama.cpp's server, started and stopped by benchhydra; its models are GGUF files."""

    program: list[str] = knob(
        [],
        "words that start llama-server; []: the package xllamacpp if engine.python has it, else llama-server on PATH",
    )
    python: str | None = knob(None, "Python interpreter with xllamacpp; null: the one that runs benchhydra")
    keep_alive: bool = knob(
        False,
        "use a connection again after an answer; the server of 2026-10 closes it after two streams, without a word, "
        "which fails requests that follow at once",
    )
    slots: int = knob(4, "requests that are served at once; more wait in a queue", unit="requests")

    def __post_init__(self) -> None:
        if isinstance(self.slots, int) and self.slots < 1:
            raise ConfigError(f"engine.slots={self.slots} must be at least 1")
        refuse_secrets("engine.program", self.program)

    def target(self, model: Model, sparsity: Sparsity, gpus: Gpus) -> Target:
        """Return the model as a GGUF file; its tokenizer is read from the file unless model.tokenizer is set."""
        target = resolve_target(model, sparsity, gpus, {})
        if model.dtype is not None:
            text = f"model.dtype={model.dtype} has no effect on engine=llamacpp: a GGUF file has its own types"
            target = replace(target, dtype=None, warnings=(*target.warnings, text))
        if model.build is not None:
            build = GGUF_BUILDS.get(model.build)
            if build is None:
                raise ConfigError(
                    f"model.build={model.build} has no GGUF file", hint="model=smollm2, or model.id=FILE.gguf"
                )
            directory = str(built_path(build))
            tokenizer = model.tokenizer or directory
            return replace(target, model=f"{directory}/{gguf.MODEL_FILE}", tokenizer=tokenizer, build=build)
        if target.model.endswith(".gguf") and model.tokenizer is None:
            return replace(target, tokenizer=str(_tokenizer_directory(target.model)))
        return target

    def weights(self, target: Target) -> str | None:
        """Return the type of most weights of the file: Q4_K_M."""
        return gguf.weights_type(Path(target.model).expanduser()) if _is_file(target) else None

    def words(self, target: Target) -> Sequence[str]:
        """Return the words that start the server: a context of max_model_len for each slot, ``/metrics`` and slots."""
        model = "model" if _is_file(target) else "hf_repo"
        flags = {
            model: target.model,
            "alias": target.served_name or target.model,
            "ctx_size": target.max_model_len * self.slots if target.max_model_len else None,
            "parallel": self.slots,
            "n_gpu_layers": 0 if target.device == "cpu" else None,
            "threads": _threads() if target.device == "cpu" else None,
            "chat_template_file": target.chat_template,
            "metrics": True,
            "slots": True,
            "slot_save_path": str(_slot_directory()),
        }
        flags |= {flag_name(key): value for key, value in self.args.items()}
        start = self._start()
        return [*start, *flag_words(flags, self._flags(start)), "--host", "{host}", "--port", "{port}"]

    def server(self, target: Target) -> ServerSpec:
        """Return the spec of the server. With prompts in memory beside the slots, its caches cannot be emptied."""
        args = {flag_name(key): value for key, value in self.args.items()}
        flags = self._flags(self._start())
        in_memory = args.get("cache_ram") != 0 and (flags is None or "cache_ram" in flags.names)
        return replace(super().server(target), cache_reset="restart" if in_memory else "llamacpp")

    def check(self, target: Target) -> None:
        """Raise ConfigError if there is no llama.cpp, no such flag or no such file."""
        start = self._start()
        check_flags("llama.cpp's server", self.args, self._flags(start))
        _slot_directory().mkdir(parents=True, exist_ok=True)
        if target.build is None:
            self._check_file(target)
        self.request_headers()

    def reuses_connections(self) -> bool:
        """Return ``engine.keep_alive``."""
        return self.keep_alive

    def interpreter(self) -> str:
        """Return the interpreter with xllamacpp, which has the small model's package too."""
        return interpreter_path(self.python)

    def version(self, base_url: str) -> str | None:
        """Return the version of the package, or what ``llama-server --version`` prints."""
        start = self._start()
        if str(SERVER) in start:
            return f"{package_facts(self.interpreter(), PACKAGE)['version']} ({PACKAGE})"
        return printed_version((*start, "--version"))

    def _start(self) -> tuple[str, ...]:
        """Return the words that start the server, without flags. Raises ConfigError if there is no llama.cpp."""
        if self.program:
            return (require_program(self.program[0], "engine.program"), *self.program[1:])
        if "version" in package_facts(self.interpreter(), PACKAGE):
            return (self.interpreter(), str(SERVER))
        program = find_program(LLAMA_SERVER) if self.python is None else None
        if program is None:
            text = f"{self.interpreter()} has no {PACKAGE}, and there is no {LLAMA_SERVER} on PATH"
            raise ConfigError(text, hint=NO_LLAMACPP)
        return (program,)

    def _flags(self, start: Sequence[str]) -> ProgramFlags | None:
        """Return the flags of the server that these words start; None if they are unknown."""
        if str(SERVER) not in start:
            return help_flags(*start)
        names = frozenset(map(flag_name, llamacpp_server.FLAGS))
        both_forms = {flag_name(name) for name, flag in llamacpp_server.FLAGS.items() if flag.type is bool}
        switches = frozenset(both_forms | {f"no_{name}" for name in both_forms})
        return ProgramFlags(names | switches, switches)

    def _check_file(self, target: Target) -> None:
        path = Path(target.model).expanduser()
        if _is_file(target):
            if not path.is_file():
                raise ConfigError(f"model.id={target.model}: no such file", hint="model.id=FILE.gguf, or model=smollm2")
            if target.tokenizer == str(_tokenizer_directory(target.model)):
                gguf.ensure_tokenizer(path, Path(target.tokenizer))
        elif str(SERVER) in self._start():
            text = f"model.id={target.model} is no GGUF file, and {PACKAGE} downloads none"
            raise ConfigError(text, hint="model.id=FILE.gguf, or model=smollm2")


def _threads() -> int:
    """Return the threads for computing on CPU: a core is left to the load generator, because these threads spin."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


def _is_file(target: Target) -> bool:
    """Return whether the model is a file; otherwise llama-server downloads it from a repository of the hub."""
    return target.model.endswith(".gguf")


def _slot_directory() -> Path:
    """Return the directory that llama-server must have before it empties slots; nothing is written there."""
    return cache_directory() / "llamacpp-slots"


def _tokenizer_directory(model: str) -> Path:
    """Return the directory of the tokenizer of one version of a GGUF file."""
    path = Path(model).expanduser()
    try:
        status = path.stat()
        version = f"{path.absolute()} {status.st_size} {status.st_mtime_ns}"
    except OSError:
        version = str(path.absolute())
    return cache_directory() / "gguf-tokenizers" / f"{path.stem}-{hashlib.sha256(version.encode()).hexdigest()[:12]}"
