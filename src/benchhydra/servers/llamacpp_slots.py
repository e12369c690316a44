"""Empty the prompt caches of llama.cpp's server, and prove it: its slots, and the prompts that it keeps in memory.

The server keeps the last prompt of each slot, and those of earlier requests in memory unless ``--cache-ram 0``.
``POST /slots/N?action=erase`` empties a slot (the server needs ``--slot-save-path``), but not that memory. Its answers
say how many prompt tokens came from a cache (``timings.cache_n``). The proof: a prompt that the cache has served,
and one that has then replaced it in its slot, are both not found after the slots were erased, but for the token with
which all prompts of some models begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchhydra.servers.health import ControlPlane

ASK_TIMEOUT_S = 60.0
#: Words of the prompts: enough to be kept, few enough for any context.
WORDS = 10
#: Tokens with which all prompts of a model may begin: one that marks the beginning, or none.
MOST_SHARED_TOKENS = 1


def reset_slots(control: ControlPlane) -> bool | None:
    """Empty all caches. Returns True if that is proven, False if not, None if the server has no slots to erase."""
    control = replace(control, timeout_s=ASK_TIMEOUT_S)
    slots = _slots(control)
    if slots is None:
        return None
    first, second = (" ".join(str(start + i) for i in range(WORDS)) for start in (1000, 5000))
    _cached_tokens(control, first, slots[0])
    repeated, shared = (_cached_tokens(control, prompt, slots[0]) for prompt in (first, second))
    if not repeated or shared is None or not shared <= MOST_SHARED_TOKENS < repeated:
        return False
    if not _erase_all(control, slots):
        return False
    cached = [_cached_tokens(control, prompt, slots[0]) for prompt in (second, first)]
    return cached == [0, shared] and _erase_all(control, slots)


def _slots(control: ControlPlane) -> list[int] | None:
    """Return the numbers of the slots; None if the server does not list them."""
    answer = control.ask("/slots")
    document = answer.json() if answer is not None and answer.ok else None
    slots = document if isinstance(document, list) else []
    numbers = [slot["id"] for slot in slots if isinstance(slot, dict) and isinstance(slot.get("id"), int)]
    return numbers or None


def _erase_all(control: ControlPlane, slots: Sequence[int]) -> bool:
    answers = [control.ask(f"/slots/{slot}?action=erase", "POST") for slot in slots]
    return all(answer is not None and answer.ok for answer in answers)


def _cached_tokens(control: ControlPlane, prompt: str, slot: int) -> int | None:
    """Return how many tokens of a prompt came from a cache; None if the server does not say."""
    body = {"prompt": prompt, "max_tokens": 1, "temperature": 0, "id_slot": slot}
    answer = control.ask(control.api("/completions"), "POST", json=body)
    document: Any = answer.json() if answer is not None and answer.ok else None
    timings = document.get("timings") if isinstance(document, dict) else None
    cached = timings.get("cache_n") if isinstance(timings, dict) else None
    return cached if isinstance(cached, int) else None
