"""Real tokenizers: tiny's own, made once a session, and one that begins every text with a BOS."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from benchhydra import models
from benchhydra.datasets import Tokenizer
from benchhydra.datasets.tokenization import load_tokenizer
from benchhydra.target import Target


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a tokenizer needs of model tiny, without its weights."""
    out = tmp_path_factory.mktemp("tiny")
    models._train_tokenizer(np.random.default_rng(models.SEED), out / "tokenizer.json")
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": models.CHAT_TEMPLATE}
    (out / "tokenizer_config.json").write_text(json.dumps({**described, "bos_token": models.BOS}))
    (out / "config.json").write_text(json.dumps(models.TINY))
    return out


@pytest.fixture(scope="session")
def bos_dir(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with a BOS before every text."""
    import tokenizers
    from tokenizers import processors

    out = tmp_path_factory.mktemp("bos")
    tokenizer = tokenizers.Tokenizer.from_file(str(tiny_dir / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{models.BOS} $A", special_tokens=[(models.BOS, tokenizer.token_to_id(models.BOS))]
    )
    tokenizer.save(str(out / "tokenizer.json"))
    template = "{{ bos_token }}" + models.CHAT_TEMPLATE
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template, "bos_token": models.BOS}
    (out / "tokenizer_config.json").write_text(json.dumps(described))
    return out


def target_of(tokenizer: str, chat_template: str | None = None) -> Target:
    return dataclasses.replace(Target(model="m", tokenizer=tokenizer), chat_template=chat_template)


@pytest.fixture
def words() -> Tokenizer:
    """The fake engine's: a word a token."""
    return load_tokenizer(target_of("word"))


@pytest.fixture(scope="session")
def tiny(tiny_dir: Path) -> Tokenizer:
    return load_tokenizer(target_of(str(tiny_dir)))


@pytest.fixture(scope="session")
def with_bos(bos_dir: Path) -> Tokenizer:
    return load_tokenizer(target_of(str(bos_dir)))


@pytest.fixture(params=["words", "tiny", "with_bos"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """Each of them."""
    made: Tokenizer = request.getfixturevalue(request.param)
    return made
