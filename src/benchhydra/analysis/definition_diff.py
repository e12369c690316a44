"""Where the figures of two engines do not mean the same: what a token is, what a chunk holds, what a cache has served.

A comparison of two engines on one workload is only as good as the definitions agree. They are read from the figures of
both runs, not from the engines' names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchhydra.result import ENGINE_NAME, point_settings

#: Smaller relative differences of counts are rounding or chance.
TOKENS_FRACTION, CHUNKS_FRACTION, HITS = 0.01, 0.05, 0.01


def definition_differences(base: Mapping[str, Any], candidate: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a sentence for each definition that differs between the results of two engines; () for one engine."""
    if engine_of(base) == engine_of(candidate):
        return ()
    return tuple(line for line in (_tokens(base, candidate), _chunks(base, candidate), _hits(base, candidate)) if line)


def engine_of(result: Mapping[str, Any]) -> str | None:
    """Return the engine's option of a ``result.json``; None if it is unknown."""
    config = result.get("config")
    return point_settings(config).get(ENGINE_NAME) if isinstance(config, dict) else None


def _tokens(base: Mapping[str, Any], candidate: Mapping[str, Any]) -> str:
    a, b = (_metric(result, "mean_input_tokens") for result in (base, candidate))
    if a is None or b is None or abs(a - b) <= TOKENS_FRACTION * max(a, b):
        return ""
    return (
        f"definition of a token: the servers counted {a:g} -> {b:g} prompt tokens a request, so their tokenizers or "
        "templates differ: compare requests/s and E2E latency, not tokens/s"
    )


def _chunks(base: Mapping[str, Any], candidate: Mapping[str, Any]) -> str:
    a, b = (_tokens_per_chunk(result) for result in (base, candidate))
    if a is None or b is None or abs(a - b) <= CHUNKS_FRACTION * max(a, b):
        return ""
    return (
        f"definition of a chunk: {a:.3g} -> {b:.3g} output tokens in a chunk, so ITL counts other gaps and TTFT other "
        "first texts: compare TPOT and E2E latency"
    )


def _hits(base: Mapping[str, Any], candidate: Mapping[str, Any]) -> str:
    a, b = (_metric(result, "server_prefix_hit_fraction") for result in (base, candidate))
    if a is None or b is None or abs(a - b) <= HITS:
        return ""
    return f"prefix cache: {a:.0%} -> {b:.0%} of prompt tokens were found there, so the prefills are not the same work"


def _tokens_per_chunk(result: Mapping[str, Any]) -> float | None:
    tokens, chunks = (_metric(result, name) for name in ("mean_output_tokens", "chunks_per_request"))
    return tokens / chunks if tokens and chunks else None


def _metric(result: Mapping[str, Any], name: str) -> float | None:
    """Return a metric's value of a ``result.json``; None if it has none."""
    metrics = result.get("metrics")
    entries = metrics.values() if isinstance(metrics, dict) else metrics if isinstance(metrics, list) else ()
    for entry in entries:
        if isinstance(entry, dict) and entry.get("key") == name and isinstance(entry.get("value"), (int, float)):
            return float(entry["value"])
    return None
