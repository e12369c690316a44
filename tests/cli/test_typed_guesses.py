"""A newcomer's first hour: other tools' words, typos and wrong places are answered by the right key or command."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchhydra import commands, config, registry
from benchhydra.overrides import grammar, other_tools
from benchhydra.overrides.groups import group_names, group_options
from benchhydra.overrides.suggestions import config_keys

Program = Callable[..., Any]
FAKE = ("engine=fake", "tracking=none")
IN_FLIGHT = "load=concurrency load.max_in_flight=8"

#: Hints that are no overrides of a run hold one of these.
NOT_OVERRIDES = ("--config-dir", "result.json", "HYDRA_FULL_ERROR")
#: What is typed -> what the hint must hold.
GUESSES: dict[str, str] = {
    # vllm bench serve, throughput and latency
    "request_rate=5": "qps=5",
    "request-rate=5": "qps=5",
    "--request-rate 5": "qps=5",
    "--request-rate=5": "qps=5",
    "+request_rate=5": "qps=5",
    "-m request_rate=1,5": "qps=1,5",
    "--num-prompts 100": "num_prompts=100",
    "num-prompts=100": "num_prompts",
    "--max-concurrency 8": IN_FLIGHT,
    "max_concurrency=8": IN_FLIGHT,
    "random_input_len=512": "dataset.prompt_tokens=512",
    "--random-output-len 128": "dataset.output_tokens=128",
    "input_len=512": "dataset.prompt_tokens=512",
    "output_len=128": "dataset.output_tokens=128",
    "--dataset-name random": "dataset=synthetic",
    "dataset=random": "dataset=synthetic",
    "dataset_path=prompts.jsonl": "dataset=jsonl dataset.path=prompts.jsonl",
    "--backend openai-chat": "engine=attach engine.base_url=http://HOST:PORT api=chat",
    "--backend vllm": "engine=vllm",
    "--base-url http://h:8000": "engine=attach engine.base_url=http://h:8000",
    "--endpoint /v1/chat/completions": "api=chat",
    "--model meta-llama/Llama-3-8B": "model=custom model.id=meta-llama/Llama-3-8B",
    "model=meta-llama/Llama-3-8B": "model=custom model.id=meta-llama/Llama-3-8B",
    "model=/models/llama": "model=custom model.id=/models/llama",
    "-m facebook/opt-125m": "model=custom model.id=facebook/opt-125m",
    "--tensor-parallel-size 4": "gpus=tp4",
    "tp=3": "gpus=all gpus.count=3",
    "gpus=4": "gpus=tp4",
    "max_num_seqs=64": "engine.args.max_num_seqs=64",
    "engine.max_num_seqs=64": "engine.args.max_num_seqs=64",
    "max_model_len=4096": "model.max_model_len",
    "gpu_memory_utilization=0.9": "engine.args.gpu_memory_utilization=0.9",
    "--percentile-metrics ttft": "benchhydra metrics",
    "--goodput ttft:200": "slo.ttft_ms=200",
    "--num-iters 5": "script=latency script.iterations=5",
    "bench serve": "without a subcommand",
    "serve": "without a subcommand",
    # guidellm
    "--target http://localhost:8000": "engine=attach engine.base_url=http://localhost:8000",
    "target=http://localhost:8000": "engine=attach engine.base_url=http://localhost:8000",
    "--max-seconds 30": "load.duration_s=30",
    "--rate-type constant": "load=constant",
    "--profile sweep": "-m qps=1,2,4",
    "--rate 5": "qps=5",
    "--data prompt_tokens=256": "dataset.prompt_tokens=N",
    "max_error_rate=0.1": "validity.failed_fraction=0.1",
    # aiperf, genai-perf
    "--concurrency 8": IN_FLIGHT,
    "--endpoint-type chat": "api=chat",
    "--url localhost:8000": "engine=attach engine.base_url=localhost:8000",
    "isl=512": "dataset.prompt_tokens=512",
    "--osl 128": "dataset.output_tokens=128",
    "--output-tokens-mean 128": "dataset.output_tokens=128",
    "--request-count 50": "num_prompts=50",
    "--warmup-request-count 4": "script.warmup_requests=4",
    "--streaming": "script.stream",
    # SGLang's bench_serving
    "bench_serving.py": "without a subcommand",
    "--random-input 512": "dataset.prompt_tokens=512",
    "--backend sglang": "engine=sglang",
    "api_key=abc": "engine.api_key_env=NAME",
    # inference-perf
    "load.type=poisson": "load=poisson",
    "load.stages=[1]": "-m qps=1,2,4",
    "server.base_url=http://h:1": "engine=attach engine.base_url=http://h:1",
    "data.type=shareGPT": "dataset=sharegpt",
    "data.type=synthetic_x": "benchhydra options dataset",
    "load.num_workers=4": "load.processes=4",
    "config.yaml": "benchhydra suite FILE",
    # locust, k6
    "users=8": IN_FLIGHT,
    "--vus 8": IN_FLIGHT,
    "-u 8": IN_FLIGHT,
    "-c 8": IN_FLIGHT,
    "duration=30": "load.duration_s=30",
    "timeout=30": "script.request_timeout_s=30",
    "rps=5": "qps=5",
    "http://localhost:8000": "engine=attach engine.base_url=http://localhost:8000",
    # wrong places
    "dataset.qps=5": "qps",
    "load.num_prompts=5": "num_prompts",
    "script.max_in_flight=5": "load.max_in_flight",
    "prompt_tokens=5": "dataset.prompt_tokens",
    "start_qps=1": "load=ramp load.start_qps",
    "dataset.path=x": "|jsonl|",
    "load.speedup=2": "load=trace load.speedup",
    "load.prompt_tokens=5": "dataset.prompt_tokens",
    "qps=1 compare": "benchhydra compare",
    "tiny": "model=tiny",
    # typos
    "qpz=5": "did you mean qps?",
    "num_promts=5": "did you mean num_prompts?",
    "request_rat=5": "qps=5",
    "validity.lag_shar=1": "did you mean validity.lag_fraction?",
    "validity.failed_shar=1": "did you mean validity.failed_fraction?",
    "load=poison": "did you mean load=poisson?",
    "compair": "did you mean compare?",
    "script=serve": "script=serving",
}


@pytest.mark.parametrize("typed", GUESSES)
def test_a_guess_is_answered_by_the_right_word(typed: str, program: Program) -> None:
    ran = program(*FAKE, *shlex.split(typed))
    assert ran.code == 1 and ran.out == ""
    error, hint = ran.err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("  hint: ")
    assert GUESSES[typed] in hint


def hints() -> Iterator[str]:
    """Every hint of the table, with the value 4 where a value was typed."""
    for name in other_tools.KEYS:
        yield other_tools.key_hint(name, "4")
    for group, options in other_tools.OPTIONS.items():
        yield from (other_tools.option_hint(group, option) for option in options)
    yield from other_tools.COMMANDS.values()


def is_accepted(override: str, keys: set[str]) -> bool:
    """Whether an override names an option that exists, or a key of any option."""
    key, _, value = override.partition("=")
    if key in group_names():
        return value in group_options(key) or value == "NAME"
    return key in keys or any(key.startswith(f"{name}.") for name in grammar.open_keys())


def test_every_hint_of_the_table_is_accepted_here() -> None:
    """A hint that names a key which was renamed since would send the user into the next error."""
    config.register()
    classes = ((group, cls) for group in registry.GROUPS for cls in registry.options(group).values())
    keys = {f"{group}.{field.name}" for group, cls in classes for field in dataclasses.fields(cls)}
    keys |= {"gpus.count", "hydra.run.dir", *config_keys(())}
    texts = {text for text in hints() if not any(word in text for word in NOT_OVERRIDES)}
    words = [re.sub(r"\(.*", "", text).split() for text in texts]
    commands_named = {first[1] for first in words if first[0] == "benchhydra" and first[1].isalpha()}
    assert commands_named <= set(commands.command_names())
    overrides = {word for line in words for word in line if "=" in word and not word.startswith("KEY=")}
    assert len(overrides) > 60
    assert [override for override in sorted(overrides) if not is_accepted(override, keys)] == []


def test_no_word_of_another_tool_hides_an_option_of_ours() -> None:
    groups = {group: group_options(group) for group in group_names()}
    assert [
        (group, option)
        for group, options in other_tools.OPTIONS.items()
        for option in options
        if option in groups[group]
    ] == []
    assert not other_tools.COMMANDS.keys() & set(commands.command_names())


def test_a_value_that_needs_quotes_is_left_to_the_user() -> None:
    assert other_tools.key_hint("label", "a b") == "description=VALUE"
    assert "secret" not in other_tools.key_hint("api_key", "secret")
