"""Every preset spans the points of the benchmark config that it stands for, and every suite composes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import pytest

from benchhydra.commands import suite
from benchhydra.registry import CONF_DIR

Point = tuple[Any, ...]
Span = Callable[[Sequence[str]], list[Point]]
ALL_GPUS = ("cuda", None)

DENSE = (
    "teknium/OpenHermes-2.5-Mistral-7B",
    "neuralmagic/OpenHermes-2.5-Mistral-7B-marlin",
    "TheBloke/OpenHermes-2.5-Mistral-7B-GPTQ",
    "NousResearch/Llama-2-7b-chat-hf",
)
PRUNED = {
    "sparse_w16a16": ("neuralmagic/OpenHermes-2.5-Mistral-7B-pruned50",),
    "semi_structured_sparse_w16a16": ("neuralmagic/OpenHermes-2.5-Mistral-7B-pruned2.4",),
}
LLAMA2 = ("NousResearch/Llama-2-7b-chat-hf",)
MISTRAL = ("mistralai/Mistral-7B-Instruct-v0.2",)
SERVED = ("facebook/opt-350m", "meta-llama/Meta-Llama-3-8B-Instruct")
RATES = ((150, 0.5), (300, 1.0), (750, 2.5), (1500, 5.0), (3000, 10.0))
BATCHES = (1, 4, 8, 16, 32, 64)
LENGTHS = (64, 128, 256, 512, 1024, 2048)
SPARSE, SPARSE_2_4 = PRUNED


def serving(models: tuple[str, ...], pairs: tuple[tuple[int, float], ...]) -> list[Point]:
    return [
        ("serving", model, "sharegpt", None, None, count, qps, None, 4096, ALL_GPUS)
        for model, (count, qps) in itertools.product(models, pairs)
    ]


def offline(
    models: tuple[str, ...],
    counts: tuple[int, ...],
    dataset: str = "sharegpt",
    inputs: tuple[int | None, ...] = (None,),
    output: int = 128,
    sparsity: str | None = None,
) -> list[Point]:
    return [
        ("throughput", model, dataset, given, output, count, None, sparsity, 4096, ALL_GPUS)
        for model, given, count in itertools.product(models, inputs, counts)
    ]


def decode(models: tuple[str, ...], sparsity: str | None = None) -> list[Point]:
    return offline(models, BATCHES, "synthetic", (2,), 128, sparsity)


def prefill(models: tuple[str, ...], sparsity: str | None = None) -> list[Point]:
    return offline(models, (1,), "synthetic", LENGTHS, 1, sparsity)


def offline_sparse(sparsity: str) -> list[Point]:
    return offline(PRUNED[sparsity], (1000,), sparsity=sparsity)


MEANING = {
    "serving_base": serving(SERVED, ((300, 1.0),)),
    "serving_dense": serving(DENSE, RATES),
    "throughput_dense": offline(DENSE, (1000,)),
    "throughput_sparse": offline_sparse(SPARSE),
    "throughput_sparse_2_4": offline_sparse(SPARSE_2_4),
    "decode": decode(DENSE),
    "decode_sparse": decode(PRUNED[SPARSE], SPARSE),
    "decode_sparse_2_4": decode(PRUNED[SPARSE_2_4], SPARSE_2_4),
    "prefill": prefill(DENSE),
    "prefill_sparse": prefill(PRUNED[SPARSE], SPARSE),
    "prefill_sparse_2_4": prefill(PRUNED[SPARSE_2_4], SPARSE_2_4),
    "remote_push": offline(LLAMA2, (1000,), "synthetic", (256,), 128),
    "minimal_serving": serving(MISTRAL, ((5, inf),)),
    "minimal_throughput": offline(MISTRAL, (100,)),
}


def as_asked(points: list[Point]) -> list[Point]:
    """OPT 350M takes 2,048 tokens, whatever a config asks for."""
    return sorted(((*p[:8], 4096, *p[9:]) if p[1] == "facebook/opt-350m" else p for p in points), key=str)


def in_order(points: list[Point]) -> list[Point]:
    return sorted(points, key=str)


def test_every_preset_is_covered_by_these_tests() -> None:
    assert MEANING.keys() == {path.stem for path in (CONF_DIR / "experiment").glob("*.yaml")}


def entries() -> dict[str, list[str]]:
    """The words that start each preset: with a suite's overrides, where a suite has it."""
    words = {name: ["-m", f"+experiment={name}"] for name in MEANING}
    for path in sorted((CONF_DIR / "suite").glob("*.yaml")):
        words |= {entry.words[1].partition("=")[2]: list(entry.words) for entry in suite.read_suite(path, [CONF_DIR])}
    return words


@pytest.mark.parametrize(("name", "words"), entries().items(), ids=MEANING)
def test_a_preset_spans_what_its_config_spans(name: str, words: list[str], span: Span) -> None:
    assert as_asked(span(words)) == in_order(MEANING[name])


def test_an_override_replaces_a_presets_axis(span: Span) -> None:
    points = span(["-m", "+experiment=decode", "model=llama2", "num_prompts=2,3"])
    assert in_order(points) == offline(LLAMA2, (2, 3), "synthetic", (2,), 128)
