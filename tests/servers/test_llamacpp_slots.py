"""Emptying llama.cpp's slots, with a stand-in that reports how many tokens it found in a cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from benchhydra.fetch import HttpResponse
from benchhydra.servers.health import ControlPlane
from benchhydra.servers.llamacpp_slots import reset_slots


@dataclass
class StandIn:
    """A server of one slot. bos: prompts begin with a token of their own; in_memory: prompts stay beside the slot."""

    bos: bool = False
    in_memory: bool = False
    erases: bool = True
    slot: list[str] = field(default_factory=list)
    memory: list[list[str]] = field(default_factory=list)

    def __call__(self, path: str, method: str = "GET", *, json: Any = None, **_: Any) -> HttpResponse:
        if path == "/slots":
            return answer('[{"id": 0}]')
        if "erase" in path:
            self.slot = [] if self.erases else self.slot
            return answer("{}")
        prompt = ["<s>"] * self.bos + json["prompt"].split()
        kept = [self.slot, *(self.memory if self.in_memory else ())]
        cached = max(common(prompt, tokens) for tokens in kept)
        self.memory.append(self.slot)
        self.slot = prompt
        return answer(f'{{"timings": {{"cache_n": {cached}}}}}')


def answer(text: str) -> HttpResponse:
    return HttpResponse(status=200, body=text.encode())


def common(a: list[str], b: list[str]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@pytest.mark.parametrize(
    ("server", "proven"),
    [
        (StandIn(), True),
        (StandIn(bos=True), True),
        (StandIn(in_memory=True), False),
        (StandIn(bos=True, in_memory=True), False),
        (StandIn(erases=False), False),
    ],
)
def test_the_caches_are_empty_only_if_no_prompt_is_found_again(
    monkeypatch: pytest.MonkeyPatch, server: StandIn, proven: bool
) -> None:
    monkeypatch.setattr(ControlPlane, "ask", lambda self, *words, **named: server(*words, **named))
    assert reset_slots(ControlPlane(base_url="http://127.0.0.1:1")) is proven
