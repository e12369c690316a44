"""Features that a draw is composed of: each sets some knobs. ``HONEST`` ones change no figure; ``LIES`` do.

``case_of(features, seed)`` is the draw; the seed decides the numbers and the load. ``draw`` chooses the features too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from tests.lying.behaviour import FAULTS, TEXT_APIS, Behaviour, Case, Fault, Load

Rng = np.random.Generator
Knobs = dict[str, Any]
Feature = Callable[[Rng], Knobs]

FRACTIONS = (1.0, 1.0, 0.5, 0.2, 0.06)
#: Faults that are drawn whole: they are habits of a server, not of an answer.
WHOLE = ("several_choices", "usage_low", "total_differs", "no_usage")
MOST_FEATURES = 4


def _on(**knobs: Any) -> Feature:
    return lambda rng: knobs


def _one_of(name: str, *values: Any) -> Feature:
    return lambda rng: {name: values[int(rng.integers(len(values)))]}


def _fault(name: str) -> Feature:
    def knobs(rng: Rng) -> Knobs:
        fraction = 1.0 if name in WHOLE else float(rng.choice(FRACTIONS))
        return {"faults": (Fault(name=name, fraction=fraction, variant=int(rng.integers(120))),)}

    return knobs


def _gathered(rng: Rng) -> Knobs:
    by_time = rng.random() < 0.3
    knobs = {"gather_ms": float(rng.uniform(25, 120))} if by_time else {"gather_events": int(rng.integers(3, 12))}
    return {**knobs, **_fault("gathered")(rng)}


HONEST: dict[str, Feature] = {
    "lf or crlf": _one_of("newline", "\r\n", "\r"),
    "bom": _on(bom=True),
    "no space": _on(space=False),
    "comments": _on(comments=True),
    "empty data": _on(empty_data=True),
    "pings": _on(pings=True),
    "ids": _on(ids=True),
    "split data": _on(split_data=True),
    "json spaces": _on(json_spaces=True),
    "no model": _on(model_named=False),
    "model last": _on(model_last=True),
    "role first": _on(role_first=True, api="chat"),
    "empty texts": _on(empty_texts=True),
    "filter first": _on(filter_first=True),
    "parts": lambda rng: {"api": "chat", **_one_of("text_as", "parts", "thinking_parts")(rng)},
    "reasoning": lambda rng: {"api": "chat", **_one_of("text_as", "reasoning", "reasoning_content")(rng)},
    "tool calls": _on(text_as="tool_calls", api="chat", finish_reason="tool_calls"),
    "odd texts": _on(odd_texts=True),
    "finish in last": _on(finish_in_last=True),
    "no finish": _on(finish_reason=None),
    "no done": _on(done=False),
    "usage": _one_of("usage_in", "last", "every"),
    "framing": _one_of("framing", "length", "close", "http10"),
    "head early": _on(head_early=True),
    "early hints": _on(early_hints=True),
    "extensions": _on(extensions=True),
    "odd headers": _on(odd_headers=True),
    "chunks anywhere": _on(chunks_anywhere=True),
    "cuts": _on(cuts=True),
    "closes": _on(closes=True),
    "idle close": lambda rng: {"idle_close_s": float(rng.uniform(4.5, 8))},
    "steps": _one_of("step_tokens", 2, 3, 4),
    "slots": lambda rng: {"slots": int(rng.integers(2, 9)), "utilization": float(rng.uniform(0.1, 0.5))},
    "eos": lambda rng: {"natural_end": float(rng.uniform(0.2, 0.9)), "ignore_eos": False, "eos": True},
    "message events": _on(message_events=True),
    "nulls": _on(nulls=True),
    "natural ends": lambda rng: {"natural_end": float(rng.uniform(0.2, 0.9)), "ignore_eos": False},
    "whole": _on(stream=False),
    "long prefill": lambda rng: {"prefill_ms": float(rng.uniform(100, 400))},
    "jitter": lambda rng: {"prefill_spread": 0.6, "decode_spread": float(rng.uniform(0.2, 0.9))},
}
#: A queue that grows: the load offers more than the server can do.
OVERLOAD: dict[str, Feature] = {
    "overload": lambda rng: {
        "slots": int(rng.integers(1, 4)),
        "utilization": float(rng.uniform(2, 4)),
        "shape": str(rng.choice(("constant", "poisson", "burst"))),
        "count": int(rng.integers(30, 100)),
    }
}
LIES: dict[str, Feature] = {name: _fault(name) for name in FAULTS} | {"gathered": _gathered} | OVERLOAD
FEATURES: dict[str, Feature] = HONEST | LIES


def case_of(names: Collection[str], seed: int) -> Case:
    """Return the case with these features; the seed decides their numbers and the load."""
    rng = np.random.default_rng(seed)
    names = [name for name in FEATURES if name in names]
    knobs = _load_knobs(rng) | _time_knobs(rng)
    faults: tuple[Fault, ...] = ()
    for name in names:
        chosen = FEATURES[name](np.random.default_rng([seed, len(name), *name.encode()]))
        faults += chosen.pop("faults", ())
        knobs |= chosen
    utilization = knobs.pop("utilization", None)
    known = {field.name for field in dataclasses.fields(Behaviour)}
    behaviour = Behaviour(**{k: v for k, v in knobs.items() if k in known}, faults=faults, seed=seed)
    load = Load(**{k: v for k, v in knobs.items() if k not in known}, seed=seed)
    case = _consistent(Case(behaviour=behaviour, load=load, features=tuple(names)))
    if utilization is not None and case.utilization:
        qps = case.load.qps * utilization / case.utilization
        case = dataclasses.replace(case, load=dataclasses.replace(case.load, qps=qps))
    return case


def draw(rng: Rng, *, honest: bool) -> Case:
    """Return a random case: only honest features, or at least one lie."""
    count = int(rng.integers(0, MOST_FEATURES + 1))
    names = list(rng.choice(list(HONEST), count, replace=False))
    if not honest:
        names += list(rng.choice(list(LIES), int(rng.choice((1, 1, 1, 2, 3))), replace=False))
    return case_of([str(name) for name in names], int(rng.integers(1 << 31)))


def _load_knobs(rng: Rng) -> Knobs:
    low = int(rng.choice((1, 2, 6, 8, 8, 12, 24)))
    shape = str(rng.choice(("poisson", "constant", "burst", "closed", "at_once"), p=(0.3, 0.25, 0.1, 0.25, 0.1)))
    return {
        "shape": shape,
        "qps": float(np.exp(rng.uniform(np.log(5), np.log(200)))),
        "count": int(rng.choice((12, 16, 24, 45, 110), p=(0.3, 0.35, 0.25, 0.08, 0.02))),
        "in_flight": int(rng.integers(1, 9)),
        "output_tokens": (low, low if rng.random() < 0.5 else low * 2),
        "api": str(rng.choice(tuple(TEXT_APIS))),
        "ignore_eos": bool(rng.random() < 0.7),
    }


def _time_knobs(rng: Rng) -> Knobs:
    return {
        "prefill_ms": float(rng.uniform(5, 120)),
        "prefill_spread": float(rng.uniform(0, 0.3)),
        "decode_ms": float(rng.uniform(2, 30)),
        "decode_spread": float(rng.uniform(0, 0.3)),
        "network_ms": float(rng.uniform(0, 0.15)),
    }


def _consistent(case: Case) -> Case:
    """Return the case without combinations that no server can have, or whose truth no client can know."""
    behaviour, load, names = case.behaviour, case.load, set(case.features)
    changes: Knobs = {}
    if not behaviour.done and (behaviour.finish_reason is None or not load.stream):
        changes["done"] = True  # the end of a stream must be said somehow
    if behaviour.usage_in == "every" and not load.stream:
        changes["usage_in"] = "own"
    if behaviour.eos and behaviour.finish_reason is None:
        changes["eos"] = False  # nothing tells when the last token was generated
    if behaviour.gather_ms is not None:  # fewer than two steps an interval are only a delay, as of a network
        interval_ms = max(behaviour.gather_ms, 2.2 * behaviour.decode_ms)
        steps = load.output_tokens[0] * (1 - behaviour.natural_end) / behaviour.step_tokens
        changes["gather_ms"] = interval_ms if steps * behaviour.decode_ms > 3 * interval_ms else None
    kept = tuple(fault for fault in behaviour.faults if not _is_invisible(fault.name, case))
    if kept != behaviour.faults:
        changes["faults"] = kept
        gone = {fault.name for fault in behaviour.faults} - {fault.name for fault in kept}
        names -= gone
    behaviour = dataclasses.replace(behaviour, **changes)
    return Case(behaviour=behaviour, load=load, features=tuple(name for name in case.features if name in names))


def _is_invisible(fault: str, case: Case) -> bool:
    """Return whether no client can see a fault in this case, or the server cannot have it."""
    behaviour, load = case.behaviour, case.load
    chunks_are_tokens = behaviour.step_tokens == 1 and load.stream
    if fault in ("usage_low", "usage_high"):  # else nothing but usage says how many tokens there are
        as_asked = load.ignore_eos and not (behaviour.fault("too_many") or behaviour.fault("too_few"))
        return not (as_asked or chunks_are_tokens)
    if fault == "blank":  # else it may be an answer of an end of sequence, or of a line feed
        fewest = load.output_tokens[0] * (1 - behaviour.natural_end)
        return fewest / (2 if behaviour.fault("too_few") else 1) < 4
    if fault == "early_space":  # else the space makes up for what has no chunk
        return not chunks_are_tokens or behaviour.eos
    if fault == "repeated_answer":  # else nothing says that the answer had ended
        return not (load.stream and (chunks_are_tokens or behaviour.finish_reason))
    return fault in ("repeated_events", "early_end", "gathered") and not load.stream
