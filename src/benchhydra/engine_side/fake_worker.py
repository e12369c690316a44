"""An offline engine that generates nothing and takes a known time for it: ttft + itl * (longest output - 1).

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
    """Sleeps for as long as a batch would take. A prompt's tokens are its words."""

    def __init__(self, ttft_ms: float, itl_ms: float) -> None:
        self.ttft_ms, self.itl_ms = ttft_ms, itl_ms

    def versions(self) -> dict[str, str]:
        """It has none."""
        return {}

    def generate(self, request: dict[str, Any]) -> dict[str, Any]:
        """Exactly the asked number of tokens for every prompt."""
        asked: list[int] = request["output_tokens"]
        _, times = timed(lambda: time.sleep(self._after_ns(max(asked, default=0)) / 1e9))
        answer: dict[str, Any] = dict(times)
        answer["first_ns"] = [times["start_ns"] + self._after_ns(1)] * len(asked)
        answer["prompt_tokens"] = [len(prompt.split()) for prompt in request["prompts"]]
        answer["output_tokens"] = asked
        if request.get("keep_text"):
            answer["texts"] = [" ".join(["word"] * tokens) for tokens in asked]
        return answer

    def _after_ns(self, tokens: int) -> int:
        """How long after the start a prompt has so many tokens."""
        return int((self.ttft_ms + self.itl_ms * max(0, tokens - 1)) * 1e6)

    def reset(self) -> bool | None:
        """There is no cache, and so nothing that could be left in it."""
        return True


def main() -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ttft-ms", type=float, default=50.0)
    parser.add_argument("--itl-ms", type=float, default=10.0)
    flags = parser.parse_args()
    return serve(lambda: Sleeper(flags.ttft_ms, flags.itl_ms))


if __name__ == "__main__":
    sys.exit(main())
