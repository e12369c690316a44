"""The target: model, GPUs and sparsity resolved to what an engine must load, with one precedence.

model < sparsity < gpus < engine.args: the later one wins. Resolving takes milliseconds and has no side effects: it
reads the model's ``config.json`` if that is on this machine, and counts GPUs; it downloads, builds and starts nothing.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchhydra import environment
from benchhydra.errors import ConfigError, GpuUnavailable
from benchhydra.registry import check_choices, knob

#: Tokenizer of the fake engine: one token per word, no file, no network.
WORD_TOKENIZER = "word"
#: Models that are built locally -> version of the recipe: each version has a directory of its own.
BUILDS = {"tiny": 1, "smollm2": 1, "smollm2-gguf": 1}
#: Models that are built locally -> the same model as a GGUF file.
GGUF_BUILDS = {"smollm2": "smollm2-gguf"}
#: Flags under engine.args that set fields of the target: an engine passes the target's field instead of the flag.
TARGET_ARGS = ("tokenizer", "revision", "dtype", "quantization", "max_model_len", "chat_template")


@dataclass(kw_only=True)
class Model:
    """A model: where to find it and how to load it."""

    id: str = knob("???", "hub id or local directory of the model")
    tokenizer: str | None = knob(None, "hub id or directory of the tokenizer; null: the model's own")
    revision: str | None = knob(None, "branch, tag or commit on the hub")
    dtype: str | None = knob(None, "data type of the weights, passed to the engine; null: the engine's default")
    quantization: str | None = knob(None, "quantization, passed to the engine; null: read from the model")
    max_model_len: int | None = knob(None, "maximum sequence length; null: the model's own", unit="tokens")
    chat_template: str | None = knob(None, "file with a Jinja chat template, for models without one")
    build: str | None = knob(None, "smollm2 or tiny: built locally, once, in the cache, instead of downloaded")
    sparse: dict[str, str] = knob({}, "sparsity name -> id of this model's sparse variant")

    def __post_init__(self) -> None:
        builds = [build for build in BUILDS if build not in GGUF_BUILDS.values()]
        if self.build is not None and self.build not in builds:
            raise ConfigError(f"model.build={self.build} is not allowed", hint=f"one of {', '.join(builds)}, null")
        if not self.id:
            raise ConfigError("model.id is empty", hint="model.id=HUB_ID_OR_DIRECTORY")
        if isinstance(self.max_model_len, int) and self.max_model_len < 1:
            raise ConfigError(f"model.max_model_len={self.max_model_len} must be at least 1")


@dataclass(kw_only=True)
class Gpus:
    """Which accelerators: the device and how many."""

    device: str = knob("auto", "auto: GPUs if there are any, else CPU", choices=("auto", "cpu", "cuda"))
    count: int | None = knob(None, "GPUs for tensor parallelism; null: all of them", unit="GPUs")
    price_per_hour: float | None = knob(
        None, "price of one GPU for an hour, for the cost of tokens; null: see prices", unit="USD"
    )
    prices: dict[str, float] = knob(
        {}, "price of one GPU for an hour, by a part of its name: {H100: 2.5}; of several parts the longest", unit="USD"
    )

    def __post_init__(self) -> None:
        check_choices(self)
        self._check_prices()
        lowest = 0 if self.device == "cpu" else 1
        if isinstance(self.count, int) and self.count < lowest:
            raise ConfigError(
                f"gpus.count={self.count} must be at least {lowest}", hint="gpus=single, gpus=tp2 or gpus=cpu"
            )

    def _check_prices(self) -> None:
        prices = {"price_per_hour": self.price_per_hour}
        if isinstance(self.prices, Mapping):
            prices |= {f"prices.{name}": price for name, price in self.prices.items()}
        for key, price in prices.items():
            if isinstance(price, (int, float)) and not 0 < price < math.inf:
                raise ConfigError(f"gpus.{key}={price:g} must be above 0 and finite", hint="leave it out if unknown")


@dataclass(kw_only=True)
class Sparsity:
    """Weight sparsity: selects the model's sparse variant, and is passed to engines that have a flag for it."""

    name: str | None = knob(None, "the engine's name for the sparsity; null: dense")
    allow_dense: bool = knob(False, "if the engine has no sparsity flag, run the sparse weights as dense ones and warn")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A model as an engine must load it. For a local build, ``model`` and ``tokenizer`` are its directory."""

    model: str
    tokenizer: str
    revision: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    max_model_len: int | None = None
    device: str = "cpu"
    gpus: int = 0
    sparsity: str | None = None
    chat_template: str | None = None
    build: str | None = None
    warnings: tuple[str, ...] = field(default=())
    served_name: str = ""  # the model name in requests

    @property
    def server_tokenizer(self) -> str | None:
        """The tokenizer that a server is told to use; None: the model's own, also if our prompts count words."""
        return None if self.tokenizer in (self.model, WORD_TOKENIZER) else self.tokenizer


def resolve_target(
    model: Model,
    sparsity: Sparsity,
    gpus: Gpus,
    args: dict[str, Any],
    *,
    has_sparsity_flag: Callable[[], bool] | None = None,
) -> Target:
    """Resolve the four config groups to one target. Raises ConfigError or GpuUnavailable.

    ``has_sparsity_flag``: whether the engine has ``--sparsity``; called only if a sparsity is set. None: it has not.
    """
    flags = {key.replace("-", "_").lstrip("_"): value for key, value in args.items()}
    name = sparse_variant(model, sparsity)
    device, count = _accelerators(gpus, flags.get("tensor_parallel_size"))
    passed, warnings = _sparsity_flag(sparsity, has_sparsity_flag)
    path = str(built_path(model.build)) if model.build else name
    chosen: dict[str, Any] = {
        key: flags.get(key) if flags.get(key) is not None else getattr(model, key) for key in TARGET_ARGS
    }
    chosen["tokenizer"] = chosen["tokenizer"] or path
    chosen["max_model_len"], lowered = _fit_length(path, chosen["revision"], chosen["max_model_len"])
    return Target(
        model=path,
        device=device,
        gpus=count,
        sparsity=passed,
        build=model.build,
        warnings=warnings + lowered,
        served_name=name,
        **chosen,
    )


def sparse_variant(model: Model, sparsity: Sparsity) -> str:
    """Return the id of the weights for a sparsity; the model's own if dense. Raises ConfigError if there are none."""
    if sparsity.name is None:
        return model.id
    if sparsity.name in model.sparse:
        return model.sparse[sparsity.name]
    variants = ", ".join(sorted(model.sparse)) or "none"
    raise ConfigError(
        f"{model.id} has no variant for sparsity={sparsity.name} (it has: {variants})",
        hint=f"sparsity=dense, model=openhermes, or '+model.sparse.{sparsity.name}=HUB_ID'",
    )


def _sparsity_flag(sparsity: Sparsity, has_flag: Callable[[], bool] | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the value for ``--sparsity``, and a warning if the sparse weights run as dense ones."""
    if sparsity.name is None or (has_flag is not None and has_flag()):
        return sparsity.name, ()
    if not sparsity.allow_dense:
        raise ConfigError(
            f"this engine has no --sparsity flag, so {sparsity.name} weights would run as dense ones",
            hint="sparsity.allow_dense=true runs and records it; engine.python=PATH names an nm-vllm that has the flag",
        )
    return None, (f"sparsity {sparsity.name}: the engine has no --sparsity flag, so these weights ran as dense ones",)


# GPUs


def gpu_count() -> int:
    """Return the number of NVIDIA GPUs that a process started here may use."""
    return len(environment.gpus())


def _accelerators(gpus: Gpus, tensor_parallel_size: Any) -> tuple[str, int]:
    """Return (device, number of GPUs). Raises GpuUnavailable if there are fewer than requested."""
    if gpus.device == "cpu":
        return "cpu", 0
    available = gpu_count()
    if gpus.device == "auto" and not available:
        return "cpu", 0
    requested = tensor_parallel_size if tensor_parallel_size is not None else gpus.count
    count = max(1, available) if requested is None else _positive("engine.args.tensor_parallel_size", requested)
    if count > available:
        raise GpuUnavailable(
            f"{count} GPU{'s' * (count > 1)} requested, but only {available} available",
            hint="gpus=cpu" if not available else "gpus=all, or gpus=auto for one",
        )
    return "cuda", count


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not str(value).isdecimal() or int(value) < 1:
        raise ConfigError(f"{name}={value!r} is not a positive whole number")
    return int(value)


# Length


def _fit_length(model: str, revision: str | None, max_model_len: Any) -> tuple[int | None, tuple[str, ...]]:
    """Return ``max_model_len``, lowered to what the model supports, and a warning if it was lowered."""
    if max_model_len is None:
        return None, ()
    requested = _positive("max_model_len", max_model_len)
    supported = supported_length(model, revision)
    if supported is None or requested <= supported:
        return requested, ()
    return supported, (f"max_model_len lowered from {requested} to {supported}: {model} supports no more",)


def supported_length(model: str, revision: str | None = None) -> int | None:
    """Return the maximum sequence length in the model's ``config.json``; None if there is no file or no length."""
    path = model_file(model, "config.json", revision)
    if path is None:
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return _config_length(config)


def weights_type(target: Target) -> str | None:
    """Return the quantization or data type of a target's weights: as asked for, or from the model's ``config.json``.

    None if neither says it. Of float32 weights only what was asked for counts: engines load them as 16 bits by default.
    """
    asked = target.quantization or target.dtype
    if asked not in (None, "auto"):
        return asked
    path = model_file(target.model, "config.json", target.revision)
    try:
        config = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict):
        return None
    quantization = config.get("quantization_config")
    declared = quantization.get("quant_method") if isinstance(quantization, dict) else None
    declared = declared or config.get("dtype") or config.get("torch_dtype")
    return declared if isinstance(declared, str) and declared != "float32" else None


#: Config keys for the maximum sequence length, by architecture; the smallest value counts, as in vLLM.
LENGTH_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
#: Rope types whose max_position_embeddings is already the scaled length.
ROPE_SCALED_ALREADY = ("default", "su", "longrope", "llama3", "mrope")


def _config_length(config: dict[str, Any]) -> int | None:
    text = {**config, **config.get("text_config", {})}
    lengths = [int(text[key]) for key in LENGTH_KEYS if isinstance(text.get(key), (int, float))]
    if not lengths:
        return None
    rope = text.get("rope_scaling") or text.get("rope_parameters") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind in ROPE_SCALED_ALREADY or "gemma3" in str(text.get("model_type", "")):
        return min(lengths)
    length = rope.get("original_max_position_embeddings") if kind == "yarn" else None
    return int((length or min(lengths)) * float(rope.get("factor", 1)))


# Files


def cache_directory() -> Path:
    """Return this user's directory of what benchhydra builds once, which may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "benchhydra"


def built_path(build: str) -> Path:
    """Return the directory of a local build, which may not exist yet."""
    return cache_directory() / "models" / f"{build}-v{BUILDS[build]}"


def is_path(model: str) -> bool:
    """Return whether a model is a file or directory on this machine, not an id of the hub."""
    return model.startswith(("/", "./", "../", "~")) or Path(model).is_dir()


def model_file(model: str, name: str, revision: str | None = None) -> Path | None:
    """Return a file of a local model directory or of the hub's cache; None if it is not there. Never downloads."""
    if Path(model).is_dir():
        path = Path(model) / name
        return path if path.is_file() else None
    repo = _hub_cache() / f"models--{model.replace('/', '--')}"
    ref = repo / "refs" / (revision or "main")
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else revision
    path = repo / "snapshots" / commit / name if commit else repo / name
    return path if path.is_file() else None


def model_files(model: str, revision: str | None = None) -> tuple[Path, ...]:
    """Return all files of a local model directory, or of a model in the hub's cache; () if it is not local."""
    config = model_file(model, "config.json", revision)
    if config is None:
        return ()
    return tuple(sorted(path for path in config.parent.rglob("*") if path.is_file()))


def _hub_cache() -> Path:
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
