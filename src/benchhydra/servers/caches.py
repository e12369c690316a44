"""Empty a server's caches. A reset counts as proven only if the response body confirms it.

vLLM has these endpoints with VLLM_SERVER_DEV_MODE=1, and answers ``{"success": true}`` from 0.32 on. Older versions
answer 200 with an empty body whether or not the cache was emptied, which proves nothing.
"""

from __future__ import annotations

import time
from typing import Any

from benchhydra.fetch import HttpResponse
from benchhydra.servers.health import ControlPlane

PREFIX_RESET = "/reset_prefix_cache"
#: These answer without a body; they exist only with a multimodal model or an encoder.
OTHER_RESETS = ("/reset_mm_cache", "/reset_encoder_cache")
ABSENT = (404, 405)
#: Requests that the client has just cancelled may still hold blocks; the server refuses a reset until they are freed.
RESET_TIMEOUT_S = 2.0


def reset_caches(control: ControlPlane, timeout_s: float = RESET_TIMEOUT_S) -> bool | None:
    """Empty every cache. Returns True if the body proves it, False if not, None if there is no reset endpoint."""
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
    """Return the boolean ``success`` of the body; None if there is none."""
    body: Any = answer.json() if answer is not None and answer.ok else None
    success = body.get("success") if isinstance(body, dict) else None
    return success if isinstance(success, bool) else None


def _retryable(answer: HttpResponse | None) -> bool:
    """Return whether to ask again: after no answer, a refusal or an error, but not after a 2xx without ``success``."""
    if answer is None:
        return True
    return _success(answer) is False if answer.ok else answer.status not in ABSENT
