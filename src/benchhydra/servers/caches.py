"""Empty a server's caches, and prove that they are empty. A server that proves nothing must be started again.

How it is done is ``ServerSpec.cache_reset``: ``vllm``, ``llamacpp``, ``POST /path`` (for servers that answer 2xx only
if the caches are empty, as SGLang does), ``restart`` (no other way is known), ``none`` (the server is used as it is).

vLLM has these endpoints with VLLM_SERVER_DEV_MODE=1. From 0.32 on it answers ``{"success": true}``. Older versions
answer 200 with an empty body whether or not the cache was emptied; then the proof is what the server has written to its
log since the request, or its counters (``prefix_probe``).
"""

from __future__ import annotations

import re
import time
from enum import Enum, auto
from pathlib import Path
from typing import Any

from benchhydra.fetch import HttpResponse
from benchhydra.servers import prefix_probe
from benchhydra.servers.health import ControlPlane
from benchhydra.servers.llamacpp_slots import reset_slots
from benchhydra.servers.logs import size, text_since

PREFIX_RESET = "/reset_prefix_cache"
#: These answer without a body; they exist only with a multimodal model or an encoder.
OTHER_RESETS = ("/reset_mm_cache", "/reset_encoder_cache")
ABSENT = (404, 405)
#: Requests that the client has just cancelled may still hold blocks; the server refuses a reset until they are freed.
RESET_TIMEOUT_S = 2.0
#: How long to wait for the log lines of all engines after the answer.
LOG_TIMEOUT_S = 0.5
#: vLLM's words, the same in all versions. Each block pool of each engine writes a line, which begins with the name of
#: the engine's process (in colour in some versions), or without one in old versions.
EMPTIED = re.compile(r"^(?:\x1b\[[\d;]*m)?(\([^)\n]*\))?.*\bSuccessfully reset prefix cache\b", re.M)
REFUSED = re.compile(r"\bFailed to reset prefix cache\b")


class _Outcome(Enum):
    EMPTIED = auto()
    REFUSED = auto()  # or no answer: worth another attempt
    UNPROVEN = auto()
    ABSENT = auto()  # the server has no reset endpoint


def reset_caches(
    control: ControlPlane, log: Path | None = None, timeout_s: float = RESET_TIMEOUT_S, *, how: str = "vllm"
) -> bool | None:
    """Empty every cache. Returns True if that is proven, False if not, None if there is no reset endpoint.

    how: ``ServerSpec.cache_reset``. log: the server's log file, if benchhydra has it.
    """
    if how == "llamacpp":
        return reset_slots(control)
    if how == "vllm":
        return _reset_vllm(control, log, timeout_s)
    method, _, path = how.partition(" ")
    return _reset_by_request(control, method, path, timeout_s) if path else False


def _reset_by_request(control: ControlPlane, method: str, path: str, timeout_s: float) -> bool | None:
    """Send a request that empties the caches until it is answered 2xx; one that is under way makes a server refuse."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = control.ask(path, method)
        if answer is not None and answer.ok:
            return _success(answer) is not False
        if answer is not None and answer.status in ABSENT:
            return None
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)


def _reset_vllm(control: ControlPlane, log: Path | None, timeout_s: float) -> bool | None:
    """Empty vLLM's caches, as ``reset_caches`` does."""
    deadline = time.monotonic() + timeout_s
    while (outcome := _reset_prefix_cache(control, log)) is _Outcome.REFUSED and time.monotonic() < deadline:
        time.sleep(0.1)
    if outcome is _Outcome.ABSENT:
        return None
    proven = outcome is _Outcome.EMPTIED
    if outcome is _Outcome.UNPROVEN:
        proven = prefix_probe.proves_empty(control, lambda: _is_ok(control.ask(PREFIX_RESET, "POST"))) is True
    return proven and _reset_others(control)


def log_proof(log: Path | None, offset: int, engines: int = 1) -> bool | None:
    """Return whether vLLM's log says, from byte ``offset`` on, that the prefix caches of all engines were emptied.

    None if the log says neither that nor the contrary within ``LOG_TIMEOUT_S``.
    """
    deadline = time.monotonic() + LOG_TIMEOUT_S
    while log is not None:
        text = text_since(log, offset)
        if REFUSED.search(text):
            return False
        processes = EMPTIED.findall(text)
        if (len(set(processes)) if any(processes) else len(processes)) >= engines:
            return True
        if time.monotonic() > deadline:
            return None
        time.sleep(0.02)
    return None


def _reset_prefix_cache(control: ControlPlane, log: Path | None) -> _Outcome:
    """Send one request for a reset; the proof is the answer's body, or else the log."""
    offset = size(log) if log is not None else 0
    answer = control.ask(PREFIX_RESET, "POST")
    if answer is not None and answer.status in ABSENT:
        return _Outcome.ABSENT
    if answer is None or not answer.ok:
        return _Outcome.REFUSED
    proven = _success(answer)
    if proven is None and log is not None:
        proven = log_proof(log, offset, engines=max(1, len(prefix_probe.prefix_counters(control))))
    return {True: _Outcome.EMPTIED, False: _Outcome.REFUSED, None: _Outcome.UNPROVEN}[proven]


def _success(answer: HttpResponse) -> bool | None:
    """Return the boolean ``success`` of the body; None if there is none."""
    body: Any = answer.json()
    success = body.get("success") if isinstance(body, dict) else None
    return success if isinstance(success, bool) else None


def _reset_others(control: ControlPlane) -> bool:
    answers = [control.ask(path, "POST") for path in OTHER_RESETS]
    return all(answer is not None and (answer.ok or answer.status in ABSENT) for answer in answers)


def _is_ok(answer: HttpResponse | None) -> bool:
    return answer is not None and answer.ok
