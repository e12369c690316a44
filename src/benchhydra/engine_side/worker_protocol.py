"""The worker's side of the offline engines' protocol: requests and answers are lines of JSON on standard streams.

It needs only the standard library of any Python from 3.9. An engine has ``versions``, ``generate`` and ``reset``.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol


class OfflineEngine(Protocol):
    """An engine that answers requests."""

    def versions(self) -> dict[str, str]:
        """Return the versions for the ready message."""

    def generate(self, request: dict[str, Any]) -> dict[str, Any]:
        """Generate for all prompts as one batch.

        Returns ``start_ns`` and ``end_ns`` of the batch, and lists by prompt: ``prompt_tokens``, ``output_tokens``,
        ``texts`` if ``keep_text`` is set, and ``first_ns``, the time of the first token, if the engine reports it. All
        times are of the monotonic clock. ``metrics``, if the engine publishes any: those before and after the batch.
        """

    def reset(self) -> bool | None:
        """Empty the caches. Returns True if that is proven, False if not, None if there are no caches."""


def serve(make: Callable[[], OfflineEngine]) -> int:
    """Create the engine, report ready, answer until ``stop`` or the end of the input. Returns the exit code."""
    requests, answers = _private_streams()

    def answer(data: dict[str, Any]) -> None:
        answers.write(json.dumps(data) + "\n")
        answers.flush()

    engine = make()
    answer({"ready": True, "versions": engine.versions()})
    for line in requests:
        request = json.loads(line)
        if request["op"] == "stop":
            answer({"stopped": True})
            break
        answer(_answer_to(request, engine))
    return 0


def _answer_to(request: dict[str, Any], engine: OfflineEngine) -> dict[str, Any]:
    """Return the engine's answer; an exception becomes ``{"error": ...}``, so that the engine keeps serving."""
    try:
        if request["op"] == "generate":
            return engine.generate(request)
        if request["op"] == "reset":
            return {"success": engine.reset()}
    except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}
    return {"error": f"no such op: {request['op']}"}


def timed(call: Callable[[], Any]) -> tuple[Any, dict[str, int]]:
    """Return the call's result, and its start and end on the monotonic clock, which all processes share."""
    start_ns = time.monotonic_ns()
    result = call()
    return result, {"start_ns": start_ns, "end_ns": time.monotonic_ns()}


def _private_streams() -> tuple[Any, Any]:
    """Return copies of the standard streams for the protocol; redirect what the engine prints to the log (stderr)."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.dup2(2, 1)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - stays open for the process's life
    return requests, answers
