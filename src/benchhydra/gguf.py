"""GGUF files: their metadata, and their tokenizer as the files that other engines' models have.

A GGUF holds its tokenizer as metadata. ``write_tokenizer`` writes ``tokenizer.json``, ``tokenizer_config.json`` and
``config.json`` from it, so that prompts are counted as llama.cpp counts them, without torch (which transformers needs
to read a GGUF). The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from benchhydra.errors import ConfigError

MAGIC = b"GGUF"
#: The name of the model in the directory of a model that is built here.
MODEL_FILE = "model.gguf"
#: Type number -> format of ``struct``; 8 is a text, 9 an array.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY = 8, 9
#: Longer texts and arrays are no metadata of a model: the file is damaged.
MOST_BYTES, MOST_VALUES = 1 << 28, 1 << 26
#: ``tokenizer.ggml.token_type`` of tokens that are matched as a whole in any text.
CONTROL, USER_DEFINED = 3, 4
#: ``general.file_type`` -> the type of most weights (llama.h: enum llama_ftype).
WEIGHTS_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4", 40: "Q1_0",
}  # fmt: skip
#: How llama.cpp cuts a text before BPE, by ``tokenizer.ggml.pre``: as GPT-2, with single digits, or by a pattern.
GPT2 = ("gpt-2", "default", "olmo", "jais", "phi-2", "mpt", "dbrx")
SINGLE_DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
PATTERNS = {
    **dict.fromkeys(
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "smaug-bpe", "pixtral"),
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+",
    ),
    **dict.fromkeys(
        ("qwen2", "deepseek-r1-qwen", "stablelm2"),
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+",
    ),
}


def read_metadata(path: Path) -> dict[str, Any]:
    """Return a file's metadata by key. Raises ConfigError if it is no GGUF of version 2 or 3."""
    return dict(_metadata(path))


def weights_type(path: Path) -> str | None:
    """Return the type of most of a file's weights, as llama.cpp calls it: Q4_K_M. None if that cannot be read.

    Reading ends there: the tokenizer behind it is long.
    """
    try:
        kind = next((value for key, value in _metadata(path) if key == "general.file_type"), None)
    except ConfigError:
        return None
    return WEIGHTS_TYPES.get(kind) if isinstance(kind, int) else None


def _metadata(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield keys and values in the file's order. Raises ConfigError if it is no GGUF of version 2 or 3."""
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise ConfigError(f"{path} is no GGUF file", hint="model.id=FILE.gguf")
            version, _, count = struct.unpack("<IQQ", _read(file, 20))
            if version not in (2, 3):
                raise ConfigError(f"{path} is GGUF of version {version}, of which only 2 and 3 are known")
            for _ in range(count):
                yield _text(file), _value(file, struct.unpack("<I", _read(file, 4))[0])
    except (OSError, ValueError, RecursionError, struct.error) as error:
        raise ConfigError(f"{path} cannot be read as GGUF: {error}") from error


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == TEXT:
        return _text(file)
    if kind != ARRAY:
        return struct.unpack(f"<{_format(kind)}", _read(file, struct.calcsize(f"<{_format(kind)}")))[0]
    item, count = struct.unpack("<IQ", _read(file, 12))
    if count > MOST_VALUES:
        raise ValueError(f"an array of {count} values")
    if item in (TEXT, ARRAY):
        return [_value(file, item) for _ in range(count)]
    size = struct.calcsize(f"<{_format(item)}")
    return list(struct.unpack(f"<{count}{_format(item)}", _read(file, count * size)))


def _format(kind: int) -> str:
    if kind not in SCALARS:
        raise ValueError(f"no such type: {kind}")
    return SCALARS[kind]


def _text(file: BinaryIO) -> str:
    return _read(file, struct.unpack("<Q", _read(file, 8))[0]).decode(errors="replace")


def _read(file: BinaryIO, size: int) -> bytes:
    if size > MOST_BYTES:
        raise ValueError(f"a value of {size} bytes")
    data = file.read(size)
    if len(data) < size:
        raise ValueError("it is truncated")
    return data


def ensure_tokenizer(gguf: Path, out: Path) -> None:
    """``write_tokenizer`` unless it has been done; the directory is complete or absent."""
    if out.is_dir():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        write_tokenizer(gguf, temporary)
        temporary.chmod(0o755)
        with contextlib.suppress(OSError):  # another process was faster
            temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if not out.is_dir():
        raise ConfigError(f"cannot write {out}", hint="XDG_CACHE_HOME=DIR moves the cache")


def write_tokenizer(gguf: Path, out: Path) -> None:
    """Write the tokenizer of a GGUF, its chat template and its context length into a directory.

    Raises ConfigError for tokenizers other than byte-level BPE with one of the known ways to cut texts.
    """
    metadata = read_metadata(gguf)
    pre = str(metadata.get("tokenizer.ggml.pre", "default"))
    if metadata.get("tokenizer.ggml.model") != "gpt2" or pre not in (*GPT2, *SINGLE_DIGITS, *PATTERNS):
        kind = f"{metadata.get('tokenizer.ggml.model')}/{pre}"
        raise ConfigError(
            f"{gguf.name} has a tokenizer that benchhydra cannot read from a GGUF ({kind})",
            hint="model.tokenizer=HUB_ID_OR_DIRECTORY of the model that the GGUF was made of",
        )
    try:
        tokenizer = _tokenizer(metadata, pre)
    except Exception as error:  # tokenizers raises nothing more precise for merges of tokens that do not exist
        text = f"the tokenizer in {gguf.name} is damaged: {type(error).__name__}: {error}"
        raise ConfigError(text, hint="model.tokenizer=HUB_ID_OR_DIRECTORY") from error
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    _write_json(out / "tokenizer_config.json", _tokenizer_config(metadata))
    length = metadata.get(f"{metadata.get('general.architecture')}.context_length")
    _write_json(out / "config.json", {"max_position_embeddings": length} if length else {})


def _tokenizer(metadata: Mapping[str, Any], pre: str) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, processors

    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = _pre_tokenizer(pre)
    tokenizer.decoder = decoders.ByteLevel()
    types = metadata.get("tokenizer.ggml.token_type", ())
    for token, kind in zip(tokens, types, strict=False):
        if kind in (CONTROL, USER_DEFINED):
            tokenizer.add_tokens([AddedToken(token, normalized=False, special=kind == CONTROL)])
    bos = _special(metadata, "bos") if metadata.get("tokenizer.ggml.add_bos_token") else None
    if bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokens.index(bos))]
        )
    return tokenizer


def _pre_tokenizer(pre: str) -> Any:
    from tokenizers import Regex, pre_tokenizers

    if pre in GPT2:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pre in SINGLE_DIGITS:
        digits, bytes_ = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
        return pre_tokenizers.Sequence([digits, bytes_])
    cut = pre_tokenizers.Split(Regex(PATTERNS[pre]), behavior="isolated")
    return pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _tokenizer_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    names = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
    special = {name: token for key, name in names.items() if (token := _special(metadata, key)) is not None}
    template = metadata.get("tokenizer.chat_template")
    return special | ({"chat_template": template} if isinstance(template, str) else {})


def _special(metadata: Mapping[str, Any], name: str) -> str | None:
    """Return the special token ``bos``, ``eos``, ...; None if the file has none."""
    token_id, tokens = metadata.get(f"tokenizer.ggml.{name}_token_id"), metadata["tokenizer.ggml.tokens"]
    return tokens[token_id] if isinstance(token_id, int) and 0 <= token_id < len(tokens) else None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
