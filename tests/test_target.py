"""One target from four config groups: who wins, what is refused, and what is lowered with a word about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from benchhydra import config, registry, target
from benchhydra.config import BenchConfig
from benchhydra.errors import ConfigError, GpuUnavailable
from benchhydra.target import (
    Gpus,
    Model,
    Sparsity,
    Target,
    model_file,
    model_files,
    resolve_target,
    supported_length,
    weights_type,
)

SPARSE = {"sparse_w16a16": "org/pruned"}
CPU = Gpus(device="cpu", count=0)


@pytest.fixture(autouse=True)
def no_gpus_no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    have(monkeypatch, 0)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def have(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    monkeypatch.setattr(target, "gpu_count", lambda: gpus)


def resolved(
    model: Model | None = None,
    sparsity: Sparsity | None = None,
    gpus: Gpus = CPU,
    has_flag: bool = False,
    args: dict[str, Any] | None = None,
) -> Target:
    return resolve_target(
        model or Model(id="org/model"), sparsity or Sparsity(), gpus, args or {}, has_sparsity_flag=lambda: has_flag
    )


# Precedence: model < sparsity < gpus < engine.args


def test_the_models_settings_are_the_defaults() -> None:
    model = Model(id="org/model", revision="v1", dtype="float16", quantization="gptq", max_model_len=100)
    made = resolved(model)
    assert (made.model, made.served_name, made.tokenizer) == ("org/model", "org/model", "org/model")
    assert (made.revision, made.dtype, made.quantization, made.max_model_len) == ("v1", "float16", "gptq", 100)


def test_sparsity_selects_the_sparse_model() -> None:
    model = Model(id="org/model", sparse=SPARSE)
    made = resolved(model, Sparsity(name="sparse_w16a16"), has_flag=True)
    assert (made.model, made.tokenizer, made.sparsity) == ("org/pruned", "org/pruned", "sparse_w16a16")
    own = resolved(
        Model(id="org/model", tokenizer="org/tok", sparse=SPARSE), Sparsity(name="sparse_w16a16"), has_flag=True
    )
    assert own.tokenizer == "org/tok"


@pytest.mark.parametrize("spelled", ["max_model_len", "max-model-len", "--max-model-len"])
def test_engine_args_override_everything(spelled: str) -> None:
    model = Model(id="org/model", dtype="float16", max_model_len=100)
    made = resolved(model, args={spelled: 50, "dtype": "bfloat16", "tokenizer": "org/tok"})
    assert (made.max_model_len, made.dtype, made.tokenizer) == (50, "bfloat16", "org/tok")


def test_an_engine_argument_of_null_keeps_the_models_value() -> None:
    assert resolved(Model(id="org/model", dtype="float16"), args={"dtype": None}).dtype == "float16"


def test_tensor_parallel_size_overrides_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, 4)
    assert resolved(gpus=Gpus(device="cuda", count=1), args={"tensor_parallel_size": 4}).gpus == 4
    assert resolved(gpus=Gpus(device="cuda", count=4), args={"tensor-parallel-size": "2"}).gpus == 2


@pytest.mark.parametrize("wrong", ["x", 0, -1, 1.5, True])
def test_an_invalid_tensor_parallel_size_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: object) -> None:
    have(monkeypatch, 4)
    with pytest.raises(ConfigError, match=r"engine\.args\.tensor_parallel_size=.*positive whole number"):
        resolved(gpus=Gpus(device="cuda", count=1), args={"tensor_parallel_size": wrong})


# Sparsity


def test_a_model_without_the_variant_says_what_it_has() -> None:
    with pytest.raises(ConfigError, match=r"org/model has no variant for sparsity=other \(it has: sparse_w16a16\)"):
        resolved(Model(id="org/model", sparse=SPARSE), Sparsity(name="other"), has_flag=True)


def test_an_engine_without_the_flag_refuses_sparse_weights() -> None:
    with pytest.raises(ConfigError, match="no --sparsity flag") as refused:
        resolved(Model(id="org/model", sparse=SPARSE), Sparsity(name="sparse_w16a16"))
    assert "sparsity.allow_dense=true" in refused.value.hint


def test_running_sparse_weights_as_dense_ones_is_recorded() -> None:
    made = resolved(Model(id="org/model", sparse=SPARSE), Sparsity(name="sparse_w16a16", allow_dense=True))
    assert (made.model, made.sparsity) == ("org/pruned", None)
    assert len(made.warnings) == 1 and "ran as dense ones" in made.warnings[0]


def test_dense_weights_need_no_flag_of_the_engine() -> None:
    def asked() -> bool:
        raise AssertionError("the engine was asked for a flag that nobody wants")

    assert resolve_target(Model(id="m"), Sparsity(), CPU, {}, has_sparsity_flag=asked).sparsity is None


# GPUs


@pytest.mark.parametrize(
    ("option", "there", "expected"),
    [
        (Gpus(device="auto", count=1), 0, ("cpu", 0)),
        (Gpus(device="auto", count=1), 4, ("cuda", 1)),
        (Gpus(device="cpu", count=0), 4, ("cpu", 0)),
        (Gpus(device="cuda", count=1), 1, ("cuda", 1)),
        (Gpus(device="cuda", count=2), 4, ("cuda", 2)),
        (Gpus(device="cuda", count=None), 1, ("cuda", 1)),
        (Gpus(device="cuda", count=None), 4, ("cuda", 4)),
    ],
)
def test_how_many_gpus(monkeypatch: pytest.MonkeyPatch, option: Gpus, there: int, expected: tuple[str, int]) -> None:
    have(monkeypatch, there)
    made = resolved(gpus=option)
    assert (made.device, made.gpus) == expected


@pytest.mark.parametrize(
    ("count", "there", "words"),
    [
        (1, 0, "1 GPU requested, but only 0 available"),
        (2, 1, "2 GPUs requested, but only 1 available"),
        (None, 0, "1 GPU requested, but only 0 available"),
    ],
)
def test_too_few_gpus(monkeypatch: pytest.MonkeyPatch, count: int | None, there: int, words: str) -> None:
    have(monkeypatch, there)
    with pytest.raises(GpuUnavailable, match=words) as refused:
        resolved(gpus=Gpus(device="cuda", count=count))
    assert "gpus=" in refused.value.hint


# Length


def a_model(folder: Path, **content: Any) -> str:
    (folder / "config.json").write_text(json.dumps(content))
    return str(folder)


@pytest.mark.parametrize(
    ("content", "longest"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": 4096, "model_max_length": 2048}, 2048),
        ({"text_config": {"max_position_embeddings": 512}}, 512),
        ({"max_position_embeddings": 32768, "sliding_window": 4096}, 32768),  # a window bounds attention, not length
        ({"max_position_embeddings": 2048, "rope_scaling": {"type": "linear", "factor": 4.0}}, 8192),
        ({"max_position_embeddings": 2048, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, 4096),
        ({"max_position_embeddings": 131072, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 131072),
        (
            {
                "max_position_embeddings": 131072,
                "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
            },
            131072,
        ),
        ({"model_type": "mamba"}, None),
    ],
)
def test_the_longest_sequence_of_a_config(tmp_path: Path, content: dict[str, Any], longest: int | None) -> None:
    assert supported_length(a_model(tmp_path, **content)) == longest


def test_a_length_above_the_models_is_lowered_with_a_warning(tmp_path: Path) -> None:
    folder = a_model(tmp_path, max_position_embeddings=2048)
    made = resolved(Model(id=folder, max_model_len=4096))
    assert made.max_model_len == 2048
    assert len(made.warnings) == 1 and "lowered from 4096 to 2048" in made.warnings[0]


def test_a_length_that_fits_is_unchanged(tmp_path: Path) -> None:
    folder = a_model(tmp_path, max_position_embeddings=2048)
    for asked in (2048, 100, None):
        made = resolved(Model(id=folder, max_model_len=asked))
        assert (made.max_model_len, made.warnings) == (asked, ())


def test_a_broken_config_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json cannot be read"):
        resolved(Model(id=str(tmp_path), max_model_len=10))


def test_files_are_found_in_the_hubs_cache(tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "models--org--model"
    snapshot = repo / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc")
    a_model(snapshot, max_position_embeddings=64)
    assert model_file("org/model", "config.json") == snapshot / "config.json"
    assert model_file("org/model", "config.json", "abc") == snapshot / "config.json"
    assert model_file("org/model", "other.json") is None
    assert model_file("org/other", "config.json") is None
    assert resolved(Model(id="org/model", max_model_len=100)).max_model_len == 64


# Models that are made here


def test_all_files_of_a_model_on_this_machine(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "sub/more.bin"):
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).touch()
    assert [path.name for path in model_files(str(tmp_path / "model"))] == [
        "config.json",
        "model.safetensors",
        "more.bin",
    ]
    assert model_files("org/model") == model_files(str(tmp_path / "no-model")) == ()


def test_a_built_model_has_a_directory_before_it_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = resolved(Model(id="tiny", build="tiny"))
    assert Path(made.model).is_relative_to(tmp_path) and not Path(made.model).exists()
    assert (made.tokenizer, made.served_name, made.build) == (made.model, "tiny", "tiny")


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"build": "huge"}, "model.build=huge"), ({"id": ""}, "model.id is empty"), ({"max_model_len": 0}, "at least 1")],
)
def test_an_invalid_model_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Model(**({"id": "m"} | fields))


@pytest.mark.parametrize("fields", [{"device": "tpu"}, {"device": "cuda", "count": 0}, {"device": "cpu", "count": -1}])
def test_invalid_gpus_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"device|gpus"):
        Gpus(**fields)


# Every option that there is


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (registry.CONF_DIR / group).glob("*.yaml"))


def composed(*overrides: str) -> BenchConfig:
    registry.discover()
    config.register()
    with initialize_config_dir(str(registry.CONF_DIR), version_base="1.3"):
        made = OmegaConf.to_object(compose("config", overrides=[*overrides, "engine=fake"]))
    assert isinstance(made, BenchConfig)
    return made


def engine_target(*overrides: str) -> Target:
    made = composed(*overrides)
    return made.engine.target(made.model, made.sparsity, made.gpus)


@pytest.mark.parametrize("name", names("model"))
def test_every_model_resolves(name: str) -> None:
    more = ["model.id=some/model"] if name == "custom" else []
    made = composed(f"model={name}", *more)
    assert engine_target(f"model={name}", *more).served_name == made.model.id
    assert resolved(made.model).served_name == made.model.id


@pytest.mark.parametrize("name", names("sparsity"))
def test_every_sparsity_resolves_for_the_model_that_has_them(name: str) -> None:
    assert engine_target("model=openhermes", f"sparsity={name}").sparsity == (None if name == "dense" else name)


@pytest.mark.parametrize(
    ("name", "expected"),
    {"all": 8, "auto": 1, "cpu": 0, "single": 1, "tp2": 2, "tp4": 4, "tp8": 8}.items(),
)
def test_every_gpus_option_resolves_to_its_number(monkeypatch: pytest.MonkeyPatch, name: str, expected: int) -> None:
    have(monkeypatch, 8)
    assert resolved(gpus=composed(f"gpus={name}").gpus).gpus == expected
    assert engine_target(f"gpus={name}").gpus == 0


def test_every_gpus_option_is_tested() -> None:
    assert names("gpus") == ["all", "auto", "cpu", "single", "tp2", "tp4", "tp8"]


@pytest.mark.parametrize(("tokenizer", "told"), [("org/model", None), ("org/tok", "org/tok"), ("word", None)])
def test_a_server_is_told_of_a_tokenizer_only_if_it_is_another_one(tokenizer: str, told: str | None) -> None:
    """``word`` counts words on our side; no server knows it."""
    assert Target(model="org/model", tokenizer=tokenizer).server_tokenizer == told


@pytest.mark.parametrize(
    ("config", "fields", "expected"),
    [
        ({"torch_dtype": "bfloat16"}, {}, "bfloat16"),
        ({"dtype": "float16"}, {"dtype": "auto"}, "float16"),
        ({"dtype": "float16"}, {"dtype": "float32"}, "float32"),
        ({"dtype": "float32"}, {}, None),  # engines load it as 16 bits, or not
        ({"dtype": "float16", "quantization_config": {"quant_method": "gptq"}}, {}, "gptq"),
        ({"dtype": "float16"}, {"dtype": "float16", "quantization": "fp8"}, "fp8"),
        ({}, {}, None),
        ([], {}, None),  # no object
    ],
)
def test_the_type_of_weights_is_as_asked_for_or_as_the_model_says(
    tmp_path: Path, config: dict[str, Any] | list[Any], fields: dict[str, Any], expected: str | None
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert weights_type(Target(model=str(tmp_path), tokenizer="t", **fields)) == expected
    assert weights_type(Target(model=str(tmp_path / "none"), tokenizer="t")) is None
