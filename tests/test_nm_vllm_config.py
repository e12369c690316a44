"""nm-vllm's config format: every key of it is read, and what is not known is an error that names its place."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchhydra import nm_vllm_config
from benchhydra.commands import import_config
from benchhydra.errors import ConfigError

OWN_FILES = Path(__file__).parents[2] / "shared/reference/nm-vllm-configs"
SERVING: dict[str, Any] = {
    "description": "VLLM Serving - Dense",
    "models": [
        "teknium/OpenHermes-2.5-Mistral-7B",
        "NousResearch/Llama-2-7b-chat-hf",
        "neuralmagic/OpenHermes-2.5-Mistral-7B-marlin",
        "TheBloke/OpenHermes-2.5-Mistral-7B-GPTQ",
    ],
    "use_all_available_gpus": "",
    "max_model_lens": [4096],
    "sparsity": [],
    "script_name": "benchmark_serving",
    "script_args": {"nr-qps-pair_": ["150,0.5", "300,1", "750,2.5", "1500,5", "3000,10"], "dataset": ["sharegpt"]},
}
OFFLINE: dict[str, Any] = {
    "models": ["NousResearch/Llama-2-7b-chat-hf"],
    "max_model_lens": [4096],
    "script_name": "benchmark_throughput",
    "script_args": {"input-len": [256], "output-len": [128], "num-prompts": [1, 4], "use-all-available-gpus_": []},
}


def read(directory: Path, *configs: dict[str, Any]) -> list[nm_vllm_config.NmVllmExperiment]:
    file = directory / "config.json"
    file.write_text(json.dumps({"configs": list(configs)}))
    return nm_vllm_config.read_nm_vllm_config(file)


def one(directory: Path, config: dict[str, Any], **changed: Any) -> nm_vllm_config.NmVllmExperiment:
    experiments = read(directory, {**config, **changed})
    assert len(experiments) == 1
    return experiments[0]


def arguments(config: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**config["script_args"], **{name.replace("_", "-"): listed for name, listed in more.items()}}


def test_the_serving_example(tmp_path: Path) -> None:
    made = one(tmp_path, SERVING)
    assert made.points() == 20
    assert made.command() == [
        "-m",
        "script=serving",
        "model=openhermes,llama2,openhermes_marlin,openhermes_gptq",
        "model.max_model_len=4096",
        "num_prompts=150,300,750,1500,3000",
        "qps=0.5,1,2.5,5,10",
        "dataset=sharegpt",
        "gpus=all",
        "description='VLLM Serving - Dense'",
        "sweep.zip=[[num_prompts,qps]]",
    ]


def test_the_offline_example(tmp_path: Path) -> None:
    made = one(tmp_path, OFFLINE)
    assert made.points() == 2
    assert made.values == {
        "script": ["throughput"],
        "model": ["llama2"],
        "model.max_model_len": ["4096"],
        "dataset.prompt_tokens": ["256"],
        "dataset.output_tokens": ["128"],
        "num_prompts": ["1", "4"],
        "dataset": ["synthetic"],
        "gpus": ["all"],
    }


GPUS: list[tuple[dict[str, Any], list[str], list[str] | None]] = [
    ({}, ["single"], None),
    ({"use_all_available_gpus": ""}, ["all"], None),
    ({"tensor_parallel_size": "4"}, ["tp4"], None),
    ({"tensor_parallel_size": 2}, ["tp2"], None),
    ({"tensor_parallel_size": "3"}, ["single"], ["3"]),
]


@pytest.mark.parametrize(("keys", "gpus", "count"), GPUS)
def test_gpus(tmp_path: Path, keys: dict[str, Any], gpus: list[str], count: list[str] | None) -> None:
    config = {key: value for key, value in SERVING.items() if key != "use_all_available_gpus"}
    made = one(tmp_path, {**config, **keys})
    assert made.values["gpus"] == gpus and made.values.get("gpus.count") == count


def test_gpus_among_the_scripts_arguments(tmp_path: Path) -> None:
    plain = {"input-len": [2], "output-len": [1], "num-prompts": [1]}
    assert one(tmp_path, OFFLINE, script_args={**plain, "tensor-parallel-size_": [2]}).values["gpus"] == ["tp2"]
    assert one(tmp_path, OFFLINE, script_args=plain).values["gpus"] == ["single"]


def test_empty_lists_are_flags(tmp_path: Path) -> None:
    made = one(
        tmp_path, OFFLINE, script_args=arguments(OFFLINE, enforce_eager=[], trust_remote_code=[], disable_tqdm=[])
    )
    assert made.values["engine.args.enforce_eager"] == made.values["engine.args.trust_remote_code"] == ["true"]
    assert not any("tqdm" in key for key in made.values)


def test_one_pair_needs_no_zip_and_infinity_stays(tmp_path: Path) -> None:
    made = one(tmp_path, SERVING, script_args={"nr-qps-pair_": ["5,inf"], "dataset": ["sharegpt"]})
    assert made.points() == 4 and "sweep.zip" not in " ".join(made.command())
    assert made.values["num_prompts"] == ["5"] and made.values["qps"] == ["inf"]


def test_a_sparsity_makes_an_experiment_of_the_sparse_model(tmp_path: Path) -> None:
    pruned = "neuralmagic/OpenHermes-2.5-Mistral-7B-pruned50"
    made = one(tmp_path, OFFLINE, models=[pruned], script_args=arguments(OFFLINE, sparsity=["sparse_w16a16"]))
    assert made.values["model"] == ["openhermes"] and made.values["sparsity"] == ["sparse_w16a16"]
    unknown = one(tmp_path, OFFLINE, models=["my/pruned"], sparsity=["sparse_w16a16"])
    assert unknown.values["model"] == ["custom"] and unknown.values["+model.sparse.sparse_w16a16"] == ["my/pruned"]


def test_models_without_an_option_become_a_second_experiment(tmp_path: Path) -> None:
    known, others = read(tmp_path, {**OFFLINE, "models": ["a/b", *OFFLINE["models"], "c/d"]})
    assert known.values["model"] == ["llama2"]
    assert others.values["model"] == ["custom"] and others.values["model.id"] == ["a/b", "c/d"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": "x"}, "unknown keys: model"),
    ({"script_name": "benchmark_latency"}, "unknown script 'benchmark_latency'"),
    ({"script_args": {"nr-qps-pair_": ["5;inf"]}}, "not a pair of prompts and rate"),
    ({"script_args": {"nr-qps-pair_": ["0,1"]}}, "not a pair of prompts and rate"),
    ({"script_args": {"best-of": [2]}}, "'best-of' is unknown"),
    ({"script_args": {"num-prompts": []}}, "has no value"),
    ({"script_args": []}, "script_args is not an object"),
    ({"sparsity": ["sparse"]}, "unknown sparsity 'sparse'"),
    ({"tensor_parallel_size": "2"}, "has both"),
    ({"models": [{"id": "x"}]}, "neither a text nor a number"),
]


@pytest.mark.parametrize(("changed", "message"), WRONG)
def test_unknown_keys_are_errors(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, {**SERVING, **changed})
    assert "configs[0]" in caught.value.message


@pytest.mark.parametrize("text", ["{", "[]", '{"configs": {}}', '{"configs": [3]}', '{"configs": [{}]}'])
def test_a_file_of_another_kind(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json"):
        nm_vllm_config.read_nm_vllm_config(file)


def test_a_list_names_files_from_anywhere_above_or_beside_it(tmp_path: Path) -> None:
    read(tmp_path, OFFLINE)
    listed = tmp_path / "list.txt"
    listed.write_text("# nightly\n\nneuralmagic/benchmarks/configs/config.json\nconfig.json\n")
    assert len(nm_vllm_config.read_nm_vllm_config(listed)) == 2
    listed.write_text("not_there.json\n")
    with pytest.raises(ConfigError, match=r"not_there\.json, which does not exist"):
        nm_vllm_config.read_nm_vllm_config(listed)


@settings(deadline=None)  # the first parse loads the grammar
@given(st.text(min_size=1, max_size=30).filter(lambda text: text.strip() and text.isprintable()))
def test_any_description_survives_hydras_grammar(text: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    made = nm_vllm_config.NmVllmExperiment(description=text, values={"script": ["serving"]})
    overrides = OverridesParser.create().parse_overrides([made.command()[-1]])
    assert [override.value() for override in overrides] == [" ".join(text.split())]


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    import_config.add_arguments(parser)
    return import_config.run(parser.parse_args(words))


def test_commands_are_printed_as_a_shell_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = read(tmp_path, SERVING, OFFLINE)
    assert run(str(tmp_path / "config.json")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [shlex.split(line) for line in lines] == [["benchhydra", *experiment.command()] for experiment in made]


def test_a_preset_spans_what_the_command_spans(tmp_path: Path) -> None:
    read(tmp_path, SERVING, {**OFFLINE, "sparsity": ["sparse_w16a16"], "models": ["my/pruned"]})
    words = (str(tmp_path / "config.json"), "--preset", "mine", "-o", str(tmp_path / "conf/experiment"))
    assert run(*words) == 0
    with pytest.raises(ConfigError, match="already exists"):
        run(*words)
    for number, experiment in enumerate(nm_vllm_config.read_nm_vllm_config(tmp_path / "config.json"), start=1):
        preset = planned("--config-dir", str(tmp_path / "conf"), "-m", f"+experiment=mine_{number}")
        assert preset == planned(*experiment.command())


@pytest.mark.skipif(not OWN_FILES.is_dir(), reason="nm-vllm's own config files are not beside this checkout")
@pytest.mark.parametrize("number", range(6))
def test_nm_vllms_own_files(number: int) -> None:
    file = sorted(OWN_FILES.glob("*.json"))[number]
    configs = json.loads(file.read_text())["configs"]
    experiments = nm_vllm_config.read_nm_vllm_config(file)
    assert sum(experiment.points() for experiment in experiments) == sum(map(product, configs))
    planned(*experiments[-1].command())


@pytest.mark.skipif(not OWN_FILES.is_dir(), reason="nm-vllm's own config files are not beside this checkout")
def test_nm_vllms_own_lists() -> None:
    points = {
        file.name.removeprefix("nm_benchmark_").split("_")[0]: sum(
            e.points() for e in nm_vllm_config.read_nm_vllm_config(file)
        )
        for file in sorted(OWN_FILES.glob("*.txt"))
    }
    assert points == {"base": 2, "configs": 2, "nightly": 81, "remote": 1, "weekly": 81}


def product(config: dict[str, Any]) -> int:
    count = len(config["models"])
    for listed in config["script_args"].values():
        count *= max(1, len(listed))
    return count


def planned(*words: str) -> set[tuple[str, int, float, str, int, str]]:
    """The points of a command line as composed: nothing is started."""
    from hydra.core.global_hydra import GlobalHydra

    from benchhydra.cli import program
    from benchhydra.sweep.plan import check

    seen: list[check.CheckedPoints] = []
    original = check.check_points

    def remember(*args: Any) -> check.CheckedPoints:
        seen.append(original(*args))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "check_points", remember)
        patch.setattr(program, "_handle_signals", lambda: None)
        GlobalHydra.instance().clear()
        assert program.run([*words, "engine=fake", "sweep.plan=true"]) == 0
    return {_shown(config) for config in seen[-1].configs.values()}


def _shown(config: Any) -> tuple[str, int, float, str, int, str]:
    target = config.engine.target(config.model, config.sparsity, config.gpus)
    tokens = config.dataset.output_tokens or 0
    return (target.model, config.num_prompts, config.qps, str(config.gpus), tokens, config.description)
