"""llama.cpp's server from the Python package xllamacpp, with the flags of ``llama-server``.

Usage: llamacpp_server.py --model FILE --host HOST --port PORT [FLAG VALUE]... It serves until SIGTERM. It is run by the
interpreter that has xllamacpp; ``FLAGS`` is also read by benchhydra, which checks ``engine.args`` with it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Flag(NamedTuple):
    """A flag of llama-server: the attribute of xllamacpp's parameters that it sets, and the type of its value.

    bool: ``--flag`` and ``--no-flag`` take no value. ``enum``: the name in xllamacpp of the value's enum.
    """

    attribute: str
    type: type[Any] = str
    enum: str = ""


FLAGS = {
    "model": Flag("model.path"),
    "alias": Flag("model_alias"),
    "host": Flag("hostnames"),
    "port": Flag("port", int),
    "ctx-size": Flag("n_ctx", int),
    "parallel": Flag("n_parallel", int),
    "threads": Flag("cpuparams.n_threads", int),
    "threads-batch": Flag("cpuparams_batch.n_threads", int),
    "threads-http": Flag("n_threads_http", int),
    "batch-size": Flag("n_batch", int),
    "ubatch-size": Flag("n_ubatch", int),
    "n-predict": Flag("n_predict", int),
    "n-gpu-layers": Flag("n_gpu_layers", int),
    "main-gpu": Flag("main_gpu", int),
    "cont-batching": Flag("cont_batching", bool),
    "kv-unified": Flag("kv_unified", bool),
    "kv-offload": Flag("no_kv_offload", bool),
    "flash-attn": Flag("flash_attn_type", str, "llama_flash_attn_type"),
    "cache-type-k": Flag("cache_type_k", str, "ggml_type"),
    "cache-type-v": Flag("cache_type_v", str, "ggml_type"),
    "cache-prompt": Flag("cache_prompt", bool),
    "cache-reuse": Flag("n_cache_reuse", int),
    "cache-ram": Flag("cache_ram_mib", int),
    "ctx-checkpoints": Flag("n_ctx_checkpoints", int),
    "slot-prompt-similarity": Flag("slot_prompt_similarity", float),
    "slot-save-path": Flag("slot_save_path"),
    "slots": Flag("endpoint_slots", bool),
    "metrics": Flag("endpoint_metrics", bool),
    "props": Flag("endpoint_props", bool),
    "embedding": Flag("embedding", bool),
    "reranking": Flag("embedding", bool),
    "pooling": Flag("pooling_type", str, "llama_pooling_type"),
    "embd-normalize": Flag("embd_normalize", int),
    "rope-freq-base": Flag("rope_freq_base", float),
    "rope-freq-scale": Flag("rope_freq_scale", float),
    "jinja": Flag("use_jinja", bool),
    "chat-template": Flag("chat_template"),
    "chat-template-file": Flag("chat_template"),
    "timeout": Flag("timeout_read", int),
    "warmup": Flag("warmup", bool),
    "lora": Flag("lora_adapters"),
}


def parse(words: Sequence[str]) -> dict[str, Any]:
    """Return the flags' values by name. Raises ValueError for a word that is no flag, or a value of another type."""
    values: dict[str, Any] = {}
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        name = word.removeprefix("--")
        on = name in FLAGS or not name.startswith("no-")
        name = name if on else name.removeprefix("no-")
        flag = FLAGS.get(name) if word.startswith("--") else None
        if flag is None or (not on and flag.type is not bool):
            raise ValueError(f"unknown flag {word}")
        if flag.type is bool:
            values[name] = on
        elif not remaining:
            raise ValueError(f"{word} has no value")
        else:
            values[name] = flag.type(remaining.pop(0))
    return values


def parameters(module: Any, values: Mapping[str, Any]) -> Any:
    """Return xllamacpp's parameters. Raises ValueError for a name that an enum does not have."""
    params = module.CommonParams()
    for name, value in values.items():
        if name == "lora":
            params.lora_adapters = [_adapter(module, path) for path in value.split(",")]
            continue
        flag = FLAGS[name]
        holder, _, attribute = flag.attribute.rpartition(".")
        target = getattr(params, holder) if holder else params
        setattr(target, attribute, _converted(module, name, flag, value))
    if values.get("reranking"):
        params.pooling_type = module.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    return params


def _converted(module: Any, name: str, flag: Flag, value: Any) -> Any:
    """Return a flag's value as the attribute takes it."""
    if name == "kv-offload":
        return not value
    if name == "host":
        return [value]
    if name == "alias":
        return set(value.split(","))
    if name == "chat-template-file":
        return Path(value).read_text(encoding="utf-8")
    return _member(getattr(module, flag.enum), name, value) if flag.enum else value


def _member(enum: Any, flag: str, value: str) -> Any:
    """Return the member of an enum whose name ends in ``value``: "f16" is GGML_TYPE_F16, "on" is ..._ENABLED."""
    end = {"on": "ENABLED", "off": "DISABLED"}.get(value, value).upper()
    for name, member in enum.__members__.items():
        if name.endswith(f"_TYPE_{end}"):
            return member
    raise ValueError(f"--{flag} {value}: no such value")


def _adapter(module: Any, path: str) -> Any:
    adapter = module.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = path, 1.0
    return adapter


def main(words: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code."""
    import xllamacpp

    try:
        params = parameters(xllamacpp, parse(words))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    stop_signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)  # before the server starts its threads, which inherit it
    server = xllamacpp.Server(params)
    sys.stderr.write(f"listening on {server.listening_address}\n")
    signal.sigwait(stop_signals)
    del server
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
