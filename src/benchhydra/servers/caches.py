"""Emptying a server's caches, with a proof: the body of the reset must say that it has happened.

vLLM has these endpoints with VLLM_SERVER_DEV_MODE=1, and says ``{"success": true}`` from 0.32 on. Before, it answered
200 with an empty body whether or not the cache was emptied, which proves nothing.
"""

from __future__ import annotations

import time
from typing import Any

from benchhydra.fetch import HttpResponse
from benchhydra.servers.health import ControlPlane

PREFIX_RESET = "/reset_prefix_cache"
#: These have no body; without a multimodal model or an encoder they do not exist.
OTHER_RESETS = ("/reset_mm_cache", "/reset_encoder_cache")
ABSENT = (404, 405)
#: Requests that the client has just cancelled may hold blocks for a moment; the reset is refused until they are freed.
RESET_TIMEOUT_S = 2.0


def reset_caches(control: ControlPlane, timeout_s: float = RESET_TIMEOUT_S) -> bool | None:
    """Empty every cache. True: proven by the body; False: not proven; None: the server offers no reset."""
    deadline = time.monotonic() + timeout_s
    answer = control.ask(PREFIX_RESET, "POST")
    while _retryable(answer) and time.monotonic() < deadline:
        time.sleep(0.1)
        answer = control.ask(PREFIX_RESET, "POST")
    if answer is not None and answer.status in ABSENT:
        return None
    if _success(answer) is not True:
        return False
    others = [control.ask(path, "POST") for path in OTHER_RESETS]
    return all(answer is not None and (answer.ok or answer.status in ABSENT) for answer in others)


def _success(answer: HttpResponse | None) -> bool | None:
    """What the body says of the reset; None where it says nothing."""
    body: Any = answer.json() if answer is not None and answer.ok else None
    success = body.get("success") if isinstance(body, dict) else None
    return success if isinstance(success, bool) else None


def _retryable(answer: HttpResponse | None) -> bool:
    """Whether asking again may help. A server that takes the reset and says nothing will not say more next time."""
    if answer is None:
        return True
    return _success(answer) is False if answer.ok else answer.status not in ABSENT
