"""With a chat API, lengths are what the server counts: by the model's own template."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchhydra import models
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.completions import Completions
from benchhydra.datasets import Dataset, Prompt, Tokenizer
from benchhydra.datasets.chat_template import ChatTemplate, TemplatedTokenizer
from benchhydra.datasets.jsonl import Jsonl
from benchhydra.datasets.synthetic import Synthetic
from benchhydra.datasets.tokenization import load_tokenizer
from benchhydra.errors import ConfigError, DatasetError
from benchhydra.measure.prompt_lengths import PromptLengths
from benchhydra.target import Target

SYSTEM = "{{ bos_token }}[SYS] be brief [/SYS] "
TEMPLATES = {
    "system prompt": SYSTEM + "{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}",
    "plain": models.CHAT_TEMPLATE,
    "with bos": "{{ bos_token }}" + models.CHAT_TEMPLATE,
}


@pytest.fixture(scope="module")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    models._train_tokenizer(np.random.default_rng(models.SEED), path)
    return path


def tokenizer_with(folder: Path, tokenizer_json: Path, template: str | None) -> Tokenizer:
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_bytes(tokenizer_json.read_bytes())
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": models.BOS}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**config, **({"chat_template": template} if template else {})})
    )
    return load_tokenizer(Target(model="m", tokenizer=str(folder)))


def sampled(lengths: PromptLengths, dataset: Dataset, count: int = 20, most: int | None = None) -> list[Prompt]:
    return list(lengths.sample(dataset, count, np.random.default_rng(1), most))


def counted_by_transformers(folder: Path, prompts: list[Prompt]) -> list[int]:
    """What a server that uses transformers counts: the rendered conversation, special tokens included."""
    tokenizer = ChatTemplate(str(folder), None, None).tokenizer()
    conversations = [list(prompt.messages or ({"role": "user", "content": prompt.text},)) for prompt in prompts]
    return [
        len(
            tokenizer(
                tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True), add_special_tokens=False
            )["input_ids"]
        )
        for c in conversations
    ]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("lengths_are", ["prompt", "templated"])
def test_expected_lengths_are_those_of_the_server(
    tmp_path: Path, tokenizer_json: Path, name: str, lengths_are: str
) -> None:
    tokenizer = tokenizer_with(tmp_path, tokenizer_json, TEMPLATES[name])
    dataset = Synthetic(prompt_tokens=64, output_tokens=8, lengths=lengths_are)
    lengths = PromptLengths.of(tokenizer, Chat(), dataset)
    prompts = sampled(lengths, dataset)
    assert lengths.template_tokens
    assert [p.prompt_tokens for p in prompts] == counted_by_transformers(tmp_path, prompts)
    if lengths_are == "templated":
        assert {p.prompt_tokens for p in prompts} == {64}
    else:
        assert set(tokenizer.count_batch([p.text for p in prompts])) == {64}


def test_other_apis_have_no_template(tmp_path: Path, tokenizer_json: Path) -> None:
    tokenizer = tokenizer_with(tmp_path, tokenizer_json, TEMPLATES["plain"])
    dataset = Synthetic(prompt_tokens=64, output_tokens=8, lengths="templated")
    lengths = PromptLengths.of(tokenizer, Completions(), dataset)
    assert lengths.template_tokens is None and lengths.warnings() == ()
    assert {p.prompt_tokens for p in sampled(lengths, dataset)} == {64}


def test_lengths_of_prompt_do_not_change_the_requests(tmp_path: Path, tokenizer_json: Path) -> None:
    tokenizer = tokenizer_with(tmp_path, tokenizer_json, TEMPLATES["plain"])
    dataset = Synthetic(prompt_tokens=64, output_tokens=8)
    chat = sampled(PromptLengths.of(tokenizer, Chat(), dataset), dataset)
    completions = sampled(PromptLengths.of(tokenizer, Completions(), dataset), dataset)
    assert [p.text for p in chat] == [p.text for p in completions]


def test_a_conversation_in_the_template_is_not_counted_twice(tmp_path: Path, tokenizer_json: Path) -> None:
    tokenizer = tokenizer_with(tmp_path / "tokenizer", tokenizer_json, TEMPLATES["plain"])
    rows = [
        {"prompt": "kilo lima", "output_tokens": 4},
        {
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "mike"}],
            "output_tokens": 4,
        },
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = Jsonl(path=str(tmp_path / "own.jsonl"))
    prompts = sampled(PromptLengths.of(tokenizer, Chat(), dataset), dataset, 2)
    assert [p.prompt_tokens for p in prompts] == counted_by_transformers(tmp_path / "tokenizer", prompts)


def test_a_length_below_the_templates_is_refused(tmp_path: Path, tokenizer_json: Path) -> None:
    tokenizer = tokenizer_with(tmp_path, tokenizer_json, TEMPLATES["plain"])
    dataset = Synthetic(prompt_tokens=5, output_tokens=8, lengths="templated")
    with pytest.raises(
        DatasetError, match=r"dataset\.prompt_tokens=5 is too short: at least .* with the chat template"
    ) as caught:
        sampled(PromptLengths.of(tokenizer, Chat(), dataset), dataset)
    assert "dataset.lengths=prompt" in caught.value.hint


def test_the_template_counts_into_the_models_length(tmp_path: Path, tokenizer_json: Path) -> None:
    tokenizer = tokenizer_with(tmp_path, tokenizer_json, TEMPLATES["plain"])
    dataset = Synthetic(prompt_tokens=64, output_tokens=8)
    lengths = PromptLengths.of(tokenizer, Chat(), dataset)
    assert lengths.template_tokens is not None
    assert sampled(lengths, dataset, most=72 + lengths.template_tokens)
    with pytest.raises(
        DatasetError, match=f"{lengths.template_tokens} tokens of max_model_len=72 are the chat template's"
    ):
        sampled(lengths, dataset, most=72)


def test_a_model_without_template_is_said(tmp_path: Path, tokenizer_json: Path) -> None:
    tokenizer = tokenizer_with(tmp_path, tokenizer_json, None)
    dataset = Synthetic(prompt_tokens=64, output_tokens=8)
    lengths = PromptLengths.of(tokenizer, Chat(), dataset)
    assert lengths.template_tokens is None and "has no chat template" in lengths.warnings()[0]
    assert {p.prompt_tokens for p in sampled(lengths, dataset)} == {64}
    with pytest.raises(ConfigError, match=r"dataset\.lengths=templated: .* has no chat template"):
        PromptLengths.of(tokenizer, Chat(), dataclasses.replace(dataset, lengths="templated"))


def test_words_of_the_fake_engine_have_no_template() -> None:
    tokenizer = load_tokenizer(Target(model="m", tokenizer="word"))
    assert TemplatedTokenizer(tokenizer).overhead == 0


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_are_rendered_as_transformers_renders_them(tmp_path: Path, tokenizer_json: Path, name: str) -> None:
    tokenizer_with(tmp_path, tokenizer_json, TEMPLATES[name])
    template = ChatTemplate(str(tmp_path), None, None)
    talk = [
        {"role": "user", "content": "kilo"},
        {"role": "assistant", "content": "lima"},
        {"role": "user", "content": "mike"},
    ]
    own = template.render(talk, without_bos=False)
    assert template._tokenizer is None, "transformers, which takes seconds to import, was not needed"
    assert own == template.tokenizer().apply_chat_template(talk, tokenize=False, add_generation_prompt=True)


def test_a_template_that_names_unknown_tokens_or_tags_is_left_to_transformers(
    tmp_path: Path, tokenizer_json: Path
) -> None:
    for text in (
        "{{ eos_token }}{{ messages[0].content }}",
        "{% generation %}{{ messages[0].content }}{% endgeneration %}",
    ):
        tokenizer_with(tmp_path, tokenizer_json, text)
        template = ChatTemplate(str(tmp_path), None, None)
        assert "kilo" in template.render([{"role": "user", "content": "kilo"}], without_bos=False)
        assert template._tokenizer is not None
