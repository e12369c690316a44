"""LoRA adapters on a real vLLM: makes two for the model tiny, and measures them mixed with the model itself.

    python benchmarks/lora_on_vllm.py OUT_DIR

It prints the figures of each adapter. vLLM runs on the CPU if there is no GPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from benchhydra import models
from benchhydra.result import Result

RANK = 8
MODULES = ("q_proj", "v_proj")
ADAPTERS = {"sql": 1, "law": 2}


def write_adapter(out: Path, seed: int) -> None:
    """Write an adapter with random weights in PEFT's format."""
    hidden, layers = models.TINY["hidden_size"], models.TINY["num_hidden_layers"]
    head = models.TINY["head_dim"]
    width = {"q_proj": models.TINY["num_attention_heads"] * head, "v_proj": models.TINY["num_key_value_heads"] * head}
    rng, weights = np.random.default_rng(seed), {}
    for layer in range(layers):
        for module in MODULES:
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            weights[f"{name}.lora_A.weight"] = rng.normal(0, 0.1, (RANK, hidden)).astype(np.float32)
            weights[f"{name}.lora_B.weight"] = rng.normal(0, 0.1, (width[module], RANK)).astype(np.float32)
    out.mkdir(parents=True, exist_ok=True)
    save_file(weights, str(out / "adapter_model.safetensors"))
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 2 * RANK, "bias": "none"}
    settings |= {"lora_dropout": 0.0, "target_modules": list(MODULES), "base_model_name_or_path": "tiny"}
    (out / "adapter_config.json").write_text(json.dumps(settings))


def main(out: Path) -> None:
    """Make the adapters, run one point, print the figures of its groups."""
    for name, seed in ADAPTERS.items():
        write_adapter(out / "adapters" / name, seed)
    modules = ",".join(f"'{name}={out.resolve()}/adapters/{name}'" for name in ADAPTERS)
    words = ["model=tiny", "engine.args.enable_lora=true", f"engine.args.lora_modules=[{modules}]"]
    words += ["dataset.adapters={sql:2,law:1,base:1}", "dataset.prompt_tokens=32", "dataset.output_tokens=16"]
    words += ["qps=4", "num_prompts=40", "tracking=none", "script.fail_on=never", f"hydra.run.dir={out / 'point'}"]
    subprocess.run([sys.executable, "-m", "benchhydra", *words], check=True)
    for name, metrics in Result.read(out / "point").groups["adapter"].items():
        figures = {key: round(metric.value, 1) for key, metric in metrics.items()}
        print(name, figures)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
