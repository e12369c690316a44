"""Prove by a server's own counters that its prefix cache is empty, where the answer to the reset says nothing.

A prompt is sent until every engine of the server finds it in its prefix cache (``vllm:prefix_cache_hits``). Then the
caches are reset and the prompt is sent once more to every engine: a prompt that is looked up
(``vllm:prefix_cache_queries``) and not found shows that the cache was emptied. Each step that shows nothing (no
``/metrics``, no counters, no prefix caching, a prompt shorter than a block) makes the outcome unknown.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from benchhydra.servers.health import ControlPlane

#: Words of the prompt: several blocks of 16 to 128 tokens, in at most an eighth of the model's context length.
WORDS = 512
CONTEXT_FRACTION = 8
ASK_TIMEOUT_S = 30.0
#: The engine updates its counters after the answer was sent.
COUNTERS_TIMEOUT_S = 2.0
POLL_S = 0.02
#: vLLM's header that selects one of its data-parallel engines.
RANK_HEADER = "X-data-parallel-rank"
_COUNTER = re.compile(
    r"^vllm:(?:gpu_)?prefix_cache_(queries|hits)(?:_total)?(?:\{([^}\n]*)\})?[ \t]+([\d.eE+-]+)", re.M
)
_ENGINE = re.compile(r'\bengine="([^"]*)"')


class PrefixCounters(NamedTuple):
    """An engine's counters: tokens (blocks in old versions) that were looked up in the prefix cache, and found."""

    queries: float = 0.0
    hits: float = 0.0


def prefix_counters(control: ControlPlane) -> dict[str, PrefixCounters]:
    """Return the counters by engine (the label ``engine``, "" without one); {} if the server does not have them."""
    answer = control.ask("/metrics")
    if answer is None or not answer.ok:
        return {}
    values: dict[str, dict[str, float]] = {}
    for name, labels, number in _COUNTER.findall(answer.body.decode(errors="replace")):
        engine = _ENGINE.search(labels)
        counters = values.setdefault(engine[1] if engine else "", {})
        counters[name] = counters.get(name, 0.0) + float(number)
    return {engine: PrefixCounters(**counters) for engine, counters in values.items() if len(counters) == 2}


def proves_empty(control: ControlPlane, reset: Callable[[], bool]) -> bool | None:
    """Return whether ``reset`` empties the prefix caches of all engines; None if the counters do not show it.

    reset: asks the server for it, and returns whether the server accepted the request.
    """
    engines = list(prefix_counters(control))
    request = one_token_request(control) if engines else None
    if request is None:
        return None
    probe = _Probe(control=replace(control, timeout_s=ASK_TIMEOUT_S), body=request, ranked=len(engines) > 1)
    looked_up = {engine: probe.fill(engine) for engine in engines}
    if None in looked_up.values() or not reset():
        return None
    growths = [probe.send(engine, at_least=looked_up[engine] or 0.0) for engine in engines]
    if any(growth is None for growth in growths):
        return None
    return not any(growth.hits for growth in growths if growth is not None)


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """The prompt and its request. ranked: each request says which engine must take it."""

    control: ControlPlane
    body: Mapping[str, Any]
    ranked: bool

    def fill(self, engine: str) -> float | None:
        """Make an engine cache the prompt. Returns what it looks up for one request; None if it finds nothing."""
        self.send(engine)
        growth = self.send(engine)
        return growth.queries if growth is not None and growth.hits else None

    def send(self, engine: str, at_least: float = 0.0) -> PrefixCounters | None:
        """Send the prompt, and return by how much the engine's counters grew.

        None if there is no answer, or if it did not look up as much as ``at_least`` (and anything at all) in time.
        """
        before = prefix_counters(self.control).get(engine)
        headers = {RANK_HEADER: engine} if self.ranked else {}
        answer = self.control.ask(self.control.api("/completions"), "POST", json=self.body, headers=headers)
        if before is None or answer is None or not answer.ok:
            return None
        deadline = time.monotonic() + COUNTERS_TIMEOUT_S
        while self._growth(engine, before).queries < max(at_least, 1.0):
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL_S)
        time.sleep(POLL_S)  # both counters grow at once, but a reading may fall between them
        return self._growth(engine, before)

    def _growth(self, engine: str, before: PrefixCounters) -> PrefixCounters:
        after = prefix_counters(self.control).get(engine, before)
        return PrefixCounters(after.queries - before.queries, after.hits - before.hits)


def one_token_request(control: ControlPlane, words: int = WORDS) -> dict[str, Any] | None:
    """Return the body of a request for one token from the first model that the server lists; None if it lists none.

    words: of the prompt; fewer for a model of a short context.
    """
    answer = control.ask(control.api("/models"))
    document = answer.json() if answer is not None and answer.ok else None
    models = document.get("data") if isinstance(document, dict) else None
    model = models[0] if isinstance(models, list) and models else None
    if not isinstance(model, dict) or not isinstance(model.get("id"), str):
        return None
    length = model.get("max_model_len")
    words = min(words, length // CONTEXT_FRACTION) if isinstance(length, int) else words
    prompt = " ".join(["prefix cache", *map(str, range(words))])
    return {"model": model["id"], "prompt": prompt, "max_tokens": 1, "temperature": 0}
