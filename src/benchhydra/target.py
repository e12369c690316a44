"""What is measured: the model, its GPUs and its sparsity, resolved to one target with one precedence.

model < sparsity < gpus < engine.args: what is named later wins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchhydra.registry import knob

#: Tokenizer of the fake engine: a word a token, no file, no network.
WORD_TOKENIZER = "word"


@dataclass(kw_only=True)
class Model:
    """A model: where it is, and how it is to be loaded."""

    id: str = knob("???", "hub id or local directory of the model")
    tokenizer: str | None = knob(None, "hub id or directory of the tokenizer; null: the model's own")
    revision: str | None = knob(None, "branch, tag or commit on the hub")
    dtype: str | None = knob(None, "weights' type given to the engine; null: the engine's default")
    quantization: str | None = knob(None, "quantization given to the engine; null: read from the model")
    max_model_len: int | None = knob(None, "longest sequence; null: the model's own", unit="tokens")
    chat_template: str | None = knob(None, "Jinja chat template for models that carry none")
    build: str | None = knob(None, "made locally, once, into the cache, in place of a download", choices=("smollm2", "tiny", None))  # type: ignore[arg-type]
    sparse: dict[str, str] = knob({}, "sparsity name -> id of this model's sparse variant")


@dataclass(kw_only=True)
class Gpus:
    """Which accelerators: the device and how many."""

    device: str = knob("auto", "auto: one GPU where there is one, else CPU", choices=("auto", "cpu", "cuda"))
    count: int | None = knob(None, "GPUs for tensor parallelism; null: all of them", unit="GPUs")


@dataclass(kw_only=True)
class Sparsity:
    """Weight sparsity: chooses the model's sparse variant, and tells engines that have a flag for it."""

    name: str | None = knob(None, "the engine's name of the sparsity; null: dense")
    allow_dense: bool = knob(False, "go on, and record it, where the engine cannot run sparse weights as such")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A model as an engine must load it. ``model`` and ``tokenizer`` are local directories where they were built."""

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
    served_name: str = ""  # the model name that requests carry


def resolve_target(model: Model, sparsity: Sparsity, gpus: Gpus, args: dict[str, Any]) -> Target:
    """One target from the four config groups. Raises ConfigError or GpuUnavailable."""
    raise NotImplementedError
