"""Every endpoint on a real vLLM on CPU: makes small models of random weights, starts a server for each, prints a table.

    python benchmarks/endpoints_on_vllm.py [--only NAME ...] [--extra FOLDER ...]

A row takes about a minute. Transcription needs the packages soundfile and av, images need torchvision: --extra names
folders with them (``uv pip install --target FOLDER soundfile av``).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchhydra import models
from benchhydra.progress import Progress
from benchhydra.result import Result

POOLING = ("++engine.args.runner=pooling", "++engine.args.max_model_len=512")
EMBED = (*POOLING, "++engine.args.convert=embed")
TEXTS = ("dataset.prompt_tokens=32", "dataset.output_tokens=1")


@dataclass(frozen=True)
class Row:
    """A measurement. model: makes it in a folder, or a name of ``model=``; metrics: those to show."""

    name: str
    model: Callable[[Path], None] | str
    overrides: Sequence[str]
    metrics: Sequence[str]


def with_thinking(out: Path) -> None:
    """The tiny Llama, with <think> and </think> in its vocabulary; ``logit_bias`` makes it end its reasoning."""
    import numpy as np
    import tokenizers
    from safetensors.numpy import load_file, save_file

    models.write_tiny(out)
    tokenizer = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
    tokenizer.add_special_tokens(["<think>", "</think>"])
    tokenizer.save(str(out / "tokenizer.json"))
    weights, rng = load_file(out / "model.safetensors"), np.random.default_rng(1)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        rows = rng.normal(0, 0.02, (64, weights[name].shape[1])).astype(np.float16)
        weights[name] = np.concatenate([weights[name], rows])
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    _edit(out / "config.json", vocab_size=len(weights["lm_head.weight"]))


def whisper(out: Path) -> None:
    """A Whisper of two layers that says nothing but text: its special tokens have no weights."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        ["the quick brown fox"], trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet)
    )
    languages = [f"<|{language}|>" for language in LANGUAGES]
    tasks = ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    tokenizer.add_special_tokens(["<|endoftext|>", "<|startoftranscript|>", *languages, *tasks])
    tokenizer.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(1501)])
    tokenizer.save(str(out / "tokenizer.json"))
    ids = tokenizer.get_vocab()
    (out / "vocab.json").write_text(json.dumps(ids))
    merges = json.loads((out / "tokenizer.json").read_text())["model"]["merges"]
    (out / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(merge) for merge in merges)]))
    end = "<|endoftext|>"
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), end)
    (out / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "WhisperTokenizer", **names}))
    sizes = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in
             (("layers", 2), ("attention_heads", 2), ("ffn_dim", 128))}  # fmt: skip
    tokens = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), ids[end])
    config = transformers.WhisperConfig(
        vocab_size=len(ids), d_model=64, decoder_start_token_id=ids["<|startoftranscript|>"], **sizes, **tokens
    )
    torch.manual_seed(1)
    model = transformers.WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for token, at in ids.items():
            if token.startswith("<|"):
                model.model.decoder.embed_tokens.weight[at] = 0
    model.to(torch.bfloat16).save_pretrained(out)
    transformers.WhisperFeatureExtractor(feature_size=80).save_pretrained(out)
    _edit(out / "preprocessor_config.json", processor_class="WhisperProcessor")
    _edit(
        out / "generation_config.json",
        lang_to_id={language: ids[language] for language in languages},
        task_to_id={task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")},
        is_multilingual=True,
        no_timestamps_token_id=ids["<|notimestamps|>"],
    )


def llava(out: Path) -> None:
    """A LLaVA of two layers each; an image of 112 x 112 pixels has 64 tokens."""
    import tokenizers
    import torch
    import transformers
    from safetensors.torch import load_file, save_file

    models.write_tiny(out)
    tokenizer = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
    tokenizer.add_special_tokens(["<image>", "<pad>"])
    tokenizer.save(str(out / "tokenizer.json"))
    ids = tokenizer.get_vocab()
    text = transformers.LlamaConfig(
        vocab_size=2112, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=2048, pad_token_id=ids["<pad>"],
    )  # fmt: skip
    vision = transformers.CLIPVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, image_size=112, patch_size=14
    )
    config = transformers.LlavaConfig(
        text_config=text,
        vision_config=vision,
        image_token_index=ids["<image>"],
        image_seq_length=64,
        vision_feature_layer=-1,
    )
    torch.manual_seed(1)
    transformers.LlavaForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(out)
    weights = load_file(out / "model.safetensors")
    old, new = "vision_tower.", "vision_tower.vision_model."  # vLLM has the names of transformers 4
    renamed = {name if new in name else name.replace(old, new): tensor for name, tensor in weights.items()}
    save_file(renamed, out / "model.safetensors", metadata={"format": "pt"})
    crop = {"height": 112, "width": 112}
    images = {"image_processor_type": "CLIPImageProcessor", "crop_size": crop, "size": {"shortest_edge": 112}}
    scale = {"do_rescale": True, "rescale_factor": 1 / 255, "do_resize": True, "do_center_crop": True, "resample": 3}
    normal = {"do_normalize": True, "image_mean": [0.48, 0.457, 0.408], "image_std": [0.268, 0.261, 0.275]}
    (out / "preprocessor_config.json").write_text(json.dumps({**images, **scale, **normal, "do_convert_rgb": True}))
    processor = {"processor_class": "LlavaProcessor", "patch_size": 14, "num_additional_image_tokens": 1}
    more = {"vision_feature_select_strategy": "default", "image_token": "<image>"}
    (out / "processor_config.json").write_text(json.dumps({**processor, **more}))
    template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
        "{{ message['content'] }}{% else %}{% for c in message['content'] %}{% if c['type'] == 'image' %}<image>"
        "{% elif 'text' in c %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    _edit(out / "tokenizer_config.json", pad_token="<pad>", processor_class="LlavaProcessor", chat_template=template)


def _edit(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | values, indent=2))


CHAT = ("++engine.args.max_model_len=1024", "dataset.prompt_tokens=32")
TOOLS = ("++engine.args.enable_auto_tool_choice=true", "++engine.args.tool_call_parser=hermes")
ITEMS = ("mean_items", "mean_input_tokens", "item_throughput")
ROWS = (
    Row("embeddings", "tiny", (*EMBED, *TEXTS, "api=embeddings", "api.batch=4"), ITEMS),
    Row("pooling", "tiny", (*EMBED, *TEXTS, "api=pooling", "api.batch=4"), ITEMS),
    Row("score", "tiny", (*EMBED, *TEXTS, "api=score", "api.documents=4", "api.pairs=separate"), ITEMS),
    Row("rerank", "tiny", (*EMBED, *TEXTS, "api=rerank", "api.documents=4", "api.pairs=separate"), ITEMS),
    Row("classify", "tiny", (*POOLING, "++engine.args.convert=classify", *TEXTS, "api=classify", "api.batch=4"), ITEMS),
    Row("responses", "tiny", (*CHAT, "api=responses"), ("mean_ttft_ms", "mean_tpot_ms", "mean_output_tokens")),
    Row("choice", "smollm2", (*CHAT, "api=chat", "api.choice=[red,green]"), ("valid_output_fraction",)),
    Row("regex", "smollm2", (*CHAT, "api=chat", "api.regex='[0-9]{3}-[a-z]{4}'"), ("valid_output_fraction",)),
    Row(
        "schema", "smollm2",
        (*CHAT, "++engine.args.structured_outputs_config={backend:xgrammar,disable_any_whitespace:true}", "api=chat",
         "api.json_schema=example", "dataset.output_tokens=96"),
        ("valid_output_fraction",),
    ),
    Row(
        "tools", "smollm2", (*CHAT, *TOOLS, "api=chat", "api.tools=example", "api.tool_choice=required"),
        ("tool_calls_per_request", "valid_tool_call_fraction"),
    ),
    Row(
        "reasoning", with_thinking,
        (*CHAT, "++engine.args.reasoning_parser=deepseek_r1", "api=chat", "api.reasoning=true", "script.temperature=1",
         "script.body={logit_bias:{2049:5}}"),
        ("mean_ttft_ms", "mean_ttfat_ms", "mean_reasoning_chunks", "answered_fraction"),
    ),
    Row(
        "images", llava,
        (*CHAT, "api=chat", "dataset=images", "dataset.width=112", "dataset.height=112", "dataset.output_tokens=8"),
        ("mean_image_tokens", "image_throughput"),
    ),
    Row(
        "transcription", whisper,
        ("++engine.args.max_model_len=448", "api=transcription", "api.language=en", "dataset=audio",
         "dataset.seconds=2", "script.body={max_completion_tokens:16}", "model.tokenizer=word"),
        ("audio_throughput", "mean_real_time_factor", "mean_ttft_ms", "mean_output_tokens"),
    ),
)  # fmt: skip


def measure(row: Row, directory: Path, extra: Sequence[str]) -> str:
    """Return the row of the table, or why there is none."""
    if isinstance(row.model, str):
        model = [f"model={row.model}"]
    else:
        folder = directory / "model"
        folder.mkdir(parents=True)
        row.model(folder)
        model = ["model=custom", f"model.id={folder}"]
    quick = ("num_prompts=16", "qps=4", "script.fail_on=never", "tracking=none", "gpus=cpu", "script.warmup_requests=2")
    words = [*model, "engine=vllm", *quick, *row.overrides, f"hydra.run.dir={directory}/run"]
    path = os.pathsep.join([*extra, os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    command = [sys.executable, "-m", "benchhydra", *words]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"| {row.name} | {(done.stderr.strip().splitlines() or ['no message'])[-1][:150]} | |"
    result = Result.read(directory / "run")
    figures = [f"{name} {result.metrics[name].value:.4g}" for name in row.metrics if name in result.metrics]
    checks = sorted({reason.check for reason in result.reasons})
    completed, failed = (int(result.metrics[name].value) for name in ("completed", "failed"))
    return f"| {row.name} | {completed} completed, {failed} failed: {', '.join(figures)} | {', '.join(checks)} |"


def main() -> None:
    """Measure the rows, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=[row.name for row in ROWS])
    parser.add_argument("--extra", nargs="*", default=[])
    args = parser.parse_args()
    for name in ("tiny", "smollm2"):
        models.ensure_built(name, sys.executable, Progress())
    print("| api | figures | reasons |\n|---|---|---|")
    for row in ROWS:
        if not args.only or row.name in args.only:
            directory = Path(tempfile.mkdtemp())
            print(measure(row, directory, args.extra), flush=True)
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
