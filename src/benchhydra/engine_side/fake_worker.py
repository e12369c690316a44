"""A fake offline engine: it generates nothing, and takes ttft + itl * (longest output - 1) per batch.

python fake_worker.py --ttft-ms 50 --itl-ms 10
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchhydra.engine_side.worker_protocol import serve, timed
else:
    from worker_protocol import serve, timed


class Sleeper:
    """Sleeps for as long as a batch would take. One word of a prompt counts as one token."""

    def __init__(self, ttft_ms: float, itl_ms: float) -> None:
        self.ttft_ms, self.itl_ms = ttft_ms, itl_ms

    def versions(self) -> dict[str, str]:
        """Return no versions."""
        return {}

    def generate(self, request: dict[str, Any]) -> dict[str, Any]:
        """Report exactly the requested number of tokens for every prompt."""
        output_tokens: list[int] = request["output_tokens"]
        _, times = timed(lambda: time.sleep(self._latency_ns(max(output_tokens, default=0)) / 1e9))
        answer: dict[str, Any] = dict(times)
        answer["first_ns"] = [times["start_ns"] + self._latency_ns(1)] * len(output_tokens)
        answer["prompt_tokens"] = [len(prompt.split()) for prompt in request["prompts"]]
        answer["output_tokens"] = output_tokens
        if request.get("keep_text"):
            answer["texts"] = [" ".join(["word"] * tokens) for tokens in output_tokens]
        return answer

    def _latency_ns(self, tokens: int) -> int:
        """Return the time from the start of a batch to the token of this number, in ns."""
        return int((self.ttft_ms + self.itl_ms * max(0, tokens - 1)) * 1e6)

    def reset(self) -> bool | None:
        """Return True: there is no cache, so it is always empty."""
        return True


def main() -> int:
    """Serve until ``stop`` or the end of the input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ttft-ms", type=float, default=50.0)
    parser.add_argument("--itl-ms", type=float, default=10.0)
    flags = parser.parse_args()
    return serve(lambda: Sleeper(flags.ttft_ms, flags.itl_ms))


if __name__ == "__main__":
    sys.exit(main())
