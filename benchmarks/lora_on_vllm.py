"""LoRA adapters on a real vLLM: makes two for the model tiny, and measures them mixed with the model itself.

    python benchmarks/lora_on_vllm.py [--gpus cpu] [--out FOLDER]

Prints the figures of each adapter, then whether each really answers with its own weights: on one prompt, all answers of
an adapter are equal, and those of two adapters differ. Exits with 1 if a figure or an answer is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from points_on_vllm import Points, points
from safetensors.numpy import save_file

from benchhydra import models
from benchhydra.records import ADAPTER, Records
from benchhydra.result import Result

RANK = 8
MODULES = ("q_proj", "v_proj")
#: Adapter -> the seed of its weights.
ADAPTERS = {"sql": 1, "law": 2}
#: Requests by name; ``base`` is the model without an adapter.
WEIGHTS = {"sql": 2, "law": 1, "base": 1}
REQUESTS = 80
#: With vLLM's default of 1, adapters take turns: one waits until no request for the other is running. One slot more
#: than adapters stays empty: vLLM 0.32 on CPU gives requests without an adapter the weights of the last slot (index -1
#: in ``vllm/lora/ops/torch_ops/lora_ops.py``).
MAX_LORAS = len(ADAPTERS) + 1
SHOWN = ("completed", "mean_ttft_ms", "p99_ttft_ms", "mean_tpot_ms", "median_e2el_ms")


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


def server_overrides(directory: Path, gpus: str) -> list[str]:
    """Write the adapters, and return the overrides of a server that has them."""
    for name, seed in ADAPTERS.items():
        write_adapter(directory / "adapters" / name, seed)
    modules = ",".join(f"'{name}={directory.resolve()}/adapters/{name}'" for name in ADAPTERS)
    mix = ",".join(f"{name}:{weight}" for name, weight in WEIGHTS.items())
    return [
        f"++engine.args.max_loras={MAX_LORAS}",
        *("model=tiny", f"gpus={gpus}", "++engine.args.enable_lora=true", f"++engine.args.lora_modules=[{modules}]"),
        *("++engine.args.max_model_len=512", f"++dataset.adapters={{{mix}}}", "validity.blank_fraction=1"),
    ]


def mixed_load(on_vllm: Points, server: list[str]) -> Result:
    """Measure the mix."""
    words = ("dataset.prompt_tokens=32", "dataset.output_tokens=16", "qps=4", f"num_prompts={REQUESTS}")
    return on_vllm.measure("mix", *server, *words)


def texts_by_adapter(on_vllm: Points, server: list[str]) -> dict[str, set[str]]:
    """Return the answers of each adapter to one prompt, without sampling."""
    prompt = on_vllm.directory / "prompt.jsonl"
    prompt.write_text(json.dumps({"prompt": "Once upon a time", "output_tokens": 16}) + "\n")
    words = ("dataset=jsonl", f"dataset.path={prompt}", "dataset.allow_repeat=true", "script.keep_text=true")
    on_vllm.measure("texts", *server, *words, "num_prompts=24", "qps=4")
    adapters = Records.read(on_vllm.directory / "texts" / "records.parquet").labels[ADAPTER].tolist()
    lines = (on_vllm.directory / "texts" / "texts.jsonl").read_text().splitlines()
    texts: dict[str, set[str]] = defaultdict(set)
    for adapter, line in zip(adapters, lines, strict=True):
        texts[list(WEIGHTS)[adapter]].add(json.loads(line)["generated"])
    return texts


def problems(mix: Result, texts: dict[str, set[str]]) -> list[str]:
    """Return what is not as it should be."""
    wrong = []
    empty = mix.failures.get("empty", 0)  # random weights may say only special tokens
    if mix.metrics["completed"].value + empty != REQUESTS:
        wrong.append(f"only {mix.metrics['completed'].value:g} of {REQUESTS} completed: {mix.failures}")
    groups = mix.groups[ADAPTER]
    if sum(metrics["completed"].value for metrics in groups.values()) != mix.metrics["completed"].value:
        wrong.append("the adapters' requests do not add up")
    wrong += [
        f"{name} gave {len(answers)} answers to one prompt" for name, answers in texts.items() if len(answers) > 1
    ]
    if len(set().union(*texts.values())) < len(texts):
        wrong.append("two adapters gave the same answer")
    return wrong


def main() -> int:
    """Make the adapters, measure, and print. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", default="cpu")
    parser.add_argument("--out", type=Path, help="folder for the results; default: a new one")
    args = parser.parse_args()
    directory = args.out or Path(tempfile.mkdtemp())
    with points(directory) as on_vllm:
        server = server_overrides(directory, args.gpus)
        mix, texts = mixed_load(on_vllm, server), texts_by_adapter(on_vllm, server)
    print(f"| adapter | {' | '.join(SHOWN)} |\n|---|{'--:|' * len(SHOWN)}")
    for name, metrics in mix.groups[ADAPTER].items():
        print(f"| {name} | {' | '.join(f'{metrics[key].value:.1f}' for key in SHOWN)} |")
    print(f"{mix.verdict}: {', '.join(sorted({reason.check for reason in mix.reasons})) or 'no doubt'}")
    for name, answers in texts.items():
        print(f"{name}: {sorted(answers)[0]!r}")
    wrong = problems(mix, texts)
    print("\n".join(wrong) or "each adapter answers with its own weights")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
