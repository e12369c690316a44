"""vLLM's command line and environment: who wins, what each kind of flag becomes, what is refused before a start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchhydra import target as targets
from benchhydra.engines import ServerSpec
from benchhydra.engines import vllm as module
from benchhydra.engines.vllm import Vllm, command_line
from benchhydra.errors import ConfigError
from benchhydra.servers import ports
from benchhydra.target import Gpus, Model, Sparsity, Target

CPU = Gpus(device="cpu", count=0)
MODEL = Model(id="org/model", dtype="bfloat16", max_model_len=1024, sparse={"sparse_w16a16": "org/pruned"})
SPARSE = Sparsity(name="sparse_w16a16")
#: Gives each of vLLM's flags a value of its kind, and prints those that its own parser reads otherwise than meant.
PARSE = """
import dataclasses, json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
from benchhydra.engines.vllm import Vllm, command_line

parser = make_arg_parser(FlexibleArgumentParser())
switches = Vllm().facts()["switches"]
checked, wrong = {}, {}


def reads(type_, word):
    try:
        return type_(word)
    except Exception:
        return None


def kind_and_values(action):
    name, kind = action.dest, type(action).__name__
    if name == "lora_modules":
        return "", []
    if kind in ("_StoreTrueAction", "BooleanOptionalAction"):
        return kind, [True, False]
    if kind == "_AppendAction":
        return "repeated", [["a", "b c"]]
    if action.nargs in ("+", "*"):
        items = [*action.choices][:2] if action.choices else [1, 2] if reads(action.type, "1") == 1 else ["a", "b c"]
        return "list", [items, items[:1], []]
    type_ = action.type or str
    if reads(type_, '{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}:
        if isinstance(action.default, list):
            return "JSON list", [["a", "b c"], []]
        return "dict", [{"a": [1, {"b": None}], "c d": "e f"}, {}]
    if reads(type_, "3,x") == [3, "x"]:
        return "comma list", [[3, "x"]]
    if dataclasses.is_dataclass(reads(type_, "{}")):
        return "config", [{}]
    if reads(type_, "7") == 7:
        return "number", [action.choices[0] if action.choices else 7]
    return "", []


for action in parser._actions:
    kind, values = kind_and_values(action)
    for value in values:
        words = command_line({action.dest: value}, switches)
        try:
            parsed = getattr(parser.parse_args(words), action.dest)
        except SystemExit:
            parsed = "refused"
        meant = action.default if value == [] and not words else value
        checked[kind] = checked.get(kind, 0) + 1
        meant = parsed if kind == "config" and type(parsed) is type(action.type("{}")) else meant
        if (sorted(parsed) if isinstance(parsed, set) else parsed) != meant and parsed is not meant:
            wrong[f"{action.dest}={value}"] = str(parsed)

parsed = parser.parse_args(command_line(json.loads(sys.argv[1]), switches))
values = {
    "cudagraph_capture_sizes": parsed.cudagraph_capture_sizes,
    "lora_modules": [module.name for module in parsed.lora_modules],
    "allowed_origins": parsed.allowed_origins,
    "middleware": parsed.middleware,
    "device_ids": parsed.device_ids,
    "compilation_config": int(parsed.compilation_config.mode),
}
print(json.dumps({"checked": checked, "wrong": wrong, "values": values}))
"""
PARSING: dict[str, Any] = {"capture_output": True, "check": True, "text": True, "timeout": 100}
FLAGS = [
    "max_num_seqs",
    "enable_prefix_caching",
    "trust_remote_code",
    "dtype",
    "max_model_len",
    "gpu_memory_utilization",
]


@pytest.fixture(autouse=True)
def lonely(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No GPU, no hub, no proxy, a vLLM of known flags."""
    gpu_machine(monkeypatch, 0)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in [name for name in os.environ if module.OTHER_SOURCES.search(name) or name == "HF_HUB_OFFLINE"]:
        monkeypatch.delenv(name)
    has_flags(monkeypatch, FLAGS)
    module._check_hub.cache_clear()


def gpu_machine(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(targets, "gpu_count", lambda: count)


def has_flags(monkeypatch: pytest.MonkeyPatch, flags: list[str]) -> None:
    monkeypatch.setattr(Vllm, "facts", lambda self: {"vllm": "9.9", "python": "3.12", "flags": flags})


def spec(
    args: dict[str, Any] | None = None,
    model: Model = MODEL,
    sparsity: Sparsity | None = None,
    gpus: Gpus = CPU,
    **knobs: Any,
) -> ServerSpec:
    engine = Vllm(args=args or {}, **knobs)
    return engine.server(engine.target(model, sparsity or Sparsity(), gpus))


def flag(found: ServerSpec, name: str) -> str | None:
    """The value of a flag that is there once at most."""
    assert found.argv.count(name) <= 1
    return found.argv[found.argv.index(name) + 1] if name in found.argv else None


def local(tmp_path: Path) -> Target:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    return Target(model=str(tmp_path / "model"), tokenizer=str(tmp_path / "model"), served_name="m")


# Who wins


def test_the_models_own_values_are_passed() -> None:
    found = spec()
    assert found.argv[:3] == (sys.executable, "-m", "vllm.entrypoints.openai.api_server")
    assert (flag(found, "--model"), flag(found, "--served-model-name")) == ("org/model", "org/model")
    assert (flag(found, "--dtype"), flag(found, "--max-model-len")) == ("bfloat16", "1024")
    assert "--tokenizer" not in found.argv


def test_sparsity_selects_the_sparse_model_and_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    has_flags(monkeypatch, [*FLAGS, "sparsity"])
    found = spec(sparsity=SPARSE)
    assert (flag(found, "--model"), flag(found, "--sparsity")) == ("org/pruned", "sparse_w16a16")
    offline = Vllm().offline(Vllm().target(MODEL, SPARSE, CPU))
    assert json.loads(offline.argv[2])["sparsity"] == "sparse_w16a16"


def test_sparsity_is_refused_where_it_would_run_as_dense() -> None:
    with pytest.raises(ConfigError, match="no --sparsity flag"):
        spec(sparsity=SPARSE)
    allowed = spec(sparsity=Sparsity(name="sparse_w16a16", allow_dense=True))
    assert flag(allowed, "--model") == "org/pruned" and "--sparsity" not in allowed.argv


def test_engine_args_win_over_model_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_machine(monkeypatch, 4)
    found = spec(
        {"dtype": "float32", "max-model-len": 512, "tensor_parallel_size": 2}, gpus=Gpus(device="cuda", count=4)
    )
    assert (flag(found, "--dtype"), flag(found, "--max-model-len")) == ("float32", "512")
    assert (flag(found, "--tensor-parallel-size"), found.gpus) == ("2", 2)


def test_null_takes_a_flag_away() -> None:
    found = spec({"dtype": None, "enforce_eager": None})
    assert "--dtype" not in found.argv and "--enforce-eager" not in found.argv


def test_gpus_become_the_tensor_parallel_size(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_machine(monkeypatch, 4)
    four = spec(gpus=Gpus(device="auto"))
    assert (flag(four, "--tensor-parallel-size"), four.gpus) == ("4", 4)
    assert "--enforce-eager" not in four.argv
    assert "VLLM_CPU_KVCACHE_SPACE" not in dict(four.env)
    one = spec(gpus=Gpus(device="cuda", count=1))
    assert ("--tensor-parallel-size" in one.argv, one.gpus) == (False, 1)


def test_all_kinds_of_parallelism_take_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_machine(monkeypatch, 8)
    eight = spec({"pipeline_parallel_size": 2, "data-parallel-size": 2}, gpus=Gpus(device="cuda", count=2))
    assert (flag(eight, "--tensor-parallel-size"), eight.gpus) == ("2", 8)
    assert spec({"data_parallel_size": 2}).gpus == 0  # on CPU
    with pytest.raises(ConfigError, match=r"engine\.args\.data_parallel_size='many' is not a positive whole number"):
        spec({"data_parallel_size": "many"})


# Kinds of flags


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"max_num_seqs": 64}, ["--max-num-seqs", "64"]),
        ({"gpu_memory_utilization": 0.5}, ["--gpu-memory-utilization", "0.5"]),
        ({"enforce_eager": True}, ["--enforce-eager"]),
        ({"enable_prefix_caching": False}, ["--no-enable-prefix-caching"]),
        ({"seed": None}, []),
        ({"seed": 0}, ["--seed", "0"]),
        ({"compilation_config": {"level": 3}}, ["--compilation-config", '{"level": 3}']),
        ({"cudagraph_capture_sizes": [1, 2, 4]}, ["--cudagraph-capture-sizes", "1", "2", "4"]),
        ({"cudagraph_capture_sizes": []}, []),
        ({"served_model_name": ("a", "b c")}, ["--served-model-name", "a", "b c"]),
        ({"lora_modules": [{"name": "a"}, "b=c"]}, ["--lora-modules", '{"name": "a"}', "b=c"]),
        ({"allowed_origins": ["a", "b"]}, ["--allowed-origins", '["a", "b"]']),
        ({"middleware": ["a", "b c"]}, ["--middleware", "a", "--middleware", "b c"]),
        ({"chat_template": "$(touch x); a b"}, ["--chat-template", "$(touch x); a b"]),
    ],
)
def test_a_flag_becomes_words(flags: dict[str, Any], words: list[str]) -> None:
    assert command_line(flags) == words


@pytest.mark.parametrize("name", ["max_num_seqs", "max-num-seqs", "--max-num-seqs"])
def test_flags_may_be_spelled_as_vllm_or_python_does(name: str) -> None:
    assert flag(spec({name: 8}), "--max-num-seqs") == "8"


def test_remote_code_is_run_only_on_request() -> None:
    assert not any("trust" in word for word in spec().argv)
    assert "--trust-remote-code" in spec({"trust_remote_code": True}).argv


def test_equal_configs_are_equal_specs_and_others_are_not() -> None:
    assert spec({"max_num_seqs": 8}) == spec({"max_num_seqs": 8})
    assert hash(spec()) == hash(spec())
    assert spec({"max_num_seqs": 8}) != spec({"max_num_seqs": 9})
    assert spec(env={"A": "1"}) != spec(env={"A": "2"})


def test_the_offline_engine_records_first_token_times_only_where_asked_for() -> None:
    target = Vllm().target(MODEL, Sparsity(), CPU)
    assert "disable_log_stats" not in json.loads(Vllm().offline(target).argv[2])
    assert json.loads(Vllm().offline(target, first_token_times=True).argv[2])["disable_log_stats"] is False
    named = Vllm(args={"disable_log_stats": True}).offline(target, first_token_times=True)
    assert json.loads(named.argv[2])["disable_log_stats"] is True


# Environment


def test_the_environment_on_cpu() -> None:
    env = dict(spec(env={"OMP_NUM_THREADS": 2}, cpu_kv_cache_gib=3).env)
    assert env == {
        "OMP_NUM_THREADS": "2",
        "VLLM_CPU_KVCACHE_SPACE": "3",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_SERVER_DEV_MODE": "1",
    }


def test_a_local_model_never_asks_the_hub(tmp_path: Path) -> None:
    assert dict(Vllm().server(local(tmp_path)).env)["HF_HUB_OFFLINE"] == "1"


# Refused before anything starts


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"max_num_seq": 8}, "did you mean engine.args.max_num_seqs"),
        ({"port": 8000}, "engine.args.port is set by benchhydra itself"),
        ({"--host": "0.0.0.0"}, "engine.args.host is set by benchhydra itself"),
    ],
)
def test_certainly_wrong_flags_are_refused(tmp_path: Path, args: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Vllm(args=args).check(local(tmp_path))
    assert words in str(refused.value)


@pytest.mark.parametrize("args", [{"no_enable_prefix_caching": True}, {"brand_new_thing": 1}, {"max-num-seqs": 1}])
def test_flags_that_may_be_right_are_left_to_vllm(tmp_path: Path, args: dict[str, Any]) -> None:
    Vllm(args=args).check(local(tmp_path))


def test_a_missing_interpreter_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a program"):
        Vllm(python=str(tmp_path / "python")).interpreter()


def test_an_interpreter_without_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(ConfigError, match=f"{bare} has no vLLM"):
        Vllm(python=str(bare)).check(local(tmp_path))


def test_a_program_that_is_not_python_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(ConfigError, match="cannot determine the packages of"):
        Vllm(python=str(broken)).check(local(tmp_path))


def test_a_directory_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json"):
        Vllm().check(Target(model=str(tmp_path), tokenizer=str(tmp_path)))


def test_an_unavailable_hub_model_is_an_error_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{ports.free_port()}")
    with pytest.raises(ConfigError, match=r"org/model is not in the hub's cache, and http.* cannot be reached"):
        Vllm().check(Target(model="org/model", tokenizer="org/model"))
    module._check_hub.cache_clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE forbids"):
        Vllm().check(Target(model="org/model", tokenizer="org/model"))


def test_no_room_for_the_kv_cache() -> None:
    with pytest.raises(ConfigError, match="cpu_kv_cache_gib=0"):
        Vllm(cpu_kv_cache_gib=0)


# Against the real parser


@pytest.mark.vllm
@pytest.mark.timeout(120)
def test_vllms_own_parser_reads_every_flag_as_it_is_meant() -> None:
    flags = {
        "cudagraph_capture_sizes": [1, 2],
        "lora_modules": [{"name": "a", "path": "b"}, "c=d"],
        "allowed_origins": ["x", "y"],
        "middleware": ["p", "q"],
        "device_ids": [2, 3],
        "compilation_config": {"mode": 3},
    }
    answer = json.loads(subprocess.run([sys.executable, "-c", PARSE, json.dumps(flags)], **PARSING).stdout)
    assert answer["wrong"] == {}
    fewest = {"BooleanOptionalAction": 100, "list": 20, "dict": 10, "JSON list": 4, "config": 3, "comma list": 1}
    assert {
        kind: answer["checked"].get(kind, 0) for kind in fewest if answer["checked"].get(kind, 0) < fewest[kind]
    } == {}
    assert answer["checked"]["_StoreTrueAction"] > 4 and answer["checked"]["repeated"] == 1
    assert answer["values"] == {
        "cudagraph_capture_sizes": [1, 2],
        "lora_modules": ["a", "c"],
        "allowed_origins": ["x", "y"],
        "middleware": ["p", "q"],
        "device_ids": [2, 3],
        "compilation_config": 3,
    }
