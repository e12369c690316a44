"""Where the figures of two engines do not mean the same: weights, tokens, chunks, prompts from a cache.

A comparison of two engines on one workload is only as good as the definitions agree. They are read from what both runs
recorded, not from the engines' names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from benchhydra.redaction import excerpt
from benchhydra.result import ENGINE_NAME, point_settings

#: Smaller relative differences of counts are rounding or chance.
TOKENS_FRACTION, CHUNKS_FRACTION, HITS = 0.01, 0.05, 0.01
#: Names of one type of weights: those of config.json, of vLLM's flag and of llama.cpp.
SAME_WEIGHTS = {"half": "float16", "f16": "float16", "bf16": "bfloat16", "float": "float32", "f32": "float32"}
LONGEST_NAME = 60


def definition_differences(base: Mapping[str, Any], candidate: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a sentence for each definition that differs between the results of two engines; () for one engine.

    The last sentence names the definitions that agree. What a result does not say is in neither.
    """
    if engine_of(base) == engine_of(candidate):
        return ()
    differing: list[str] = []
    equal: list[str] = []
    for definition in DEFINITIONS:
        a, b = definition.read(base), definition.read(candidate)
        if a is None or b is None:
            continue
        if definition.differs(a, b):
            differing.append(definition.sentence.format(a=a, b=b))
        else:
            equal.append(definition.name)
    agreement = (f"defined alike in both: {', '.join(equal)}",) if equal else ()
    return (*differing, *agreement)


def engine_of(result: Mapping[str, Any]) -> str | None:
    """Return the engine's option of a ``result.json``; None if it is unknown."""
    config = result.get("config")
    name = point_settings(config).get(ENGINE_NAME) if isinstance(config, dict) else None
    return name if isinstance(name, str) else None


def _weights(result: Mapping[str, Any]) -> str | None:
    metadata = result.get("metadata")
    weights = metadata.get("weights") if isinstance(metadata, dict) else None
    return excerpt(weights, LONGEST_NAME) if isinstance(weights, str) else None


def _is_other_type(a: str, b: str) -> bool:
    return SAME_WEIGHTS.get(a.lower(), a.lower()) != SAME_WEIGHTS.get(b.lower(), b.lower())


def _input_tokens(result: Mapping[str, Any]) -> float | None:
    return _metric(result, "mean_input_tokens")


def _tokens_per_chunk(result: Mapping[str, Any]) -> float | None:
    tokens, chunks = (_metric(result, name) for name in ("mean_output_tokens", "chunks_per_request"))
    return tokens / chunks if tokens and chunks else None


def _hits(result: Mapping[str, Any]) -> float | None:
    return _metric(result, "server_prefix_hit_fraction")


def _metric(result: Mapping[str, Any], name: str) -> float | None:
    """Return a metric's value of a ``result.json``; None if it has none."""
    metrics = result.get("metrics")
    entries = metrics.values() if isinstance(metrics, dict) else metrics if isinstance(metrics, list) else ()
    for entry in entries:
        if isinstance(entry, dict) and entry.get("key") == name and isinstance(entry.get("value"), (int, float)):
            return float(entry["value"])
    return None


class Definition(NamedTuple):
    """One that figures rest on: how it is read from a result, when two values differ, and the sentence then."""

    name: str
    read: Callable[[Mapping[str, Any]], Any]
    differs: Callable[[Any, Any], bool]
    sentence: str


DEFINITIONS = (
    Definition(
        "weights",
        _weights,
        _is_other_type,
        "weights: {a} -> {b}, so a part of any change is that of the weights' size, not the engine's",
    ),
    Definition(
        "prompt tokens",
        _input_tokens,
        lambda a, b: abs(a - b) > TOKENS_FRACTION * max(a, b),
        "definition of a token: the servers counted {a:g} -> {b:g} prompt tokens a request, so their tokenizers or "
        "templates differ: compare requests/s and E2E latency, not tokens/s",
    ),
    Definition(
        "tokens in a chunk",
        _tokens_per_chunk,
        lambda a, b: abs(a - b) > CHUNKS_FRACTION * max(a, b),
        "definition of a chunk: {a:.3g} -> {b:.3g} output tokens in a chunk, so ITL counts other gaps and TTFT other "
        "first texts: compare TPOT and E2E latency",
    ),
    Definition(
        "prompt tokens from a cache",
        _hits,
        lambda a, b: abs(a - b) > HITS,
        "prefix cache: {a:.0%} -> {b:.0%} of prompt tokens were found there, so the prefills are not the same work",
    ),
)
